"""The op that replays the champion's price ranges over what has sold since it was trained."""

from dataclasses import dataclass
from datetime import date, timedelta
from math import inf
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.tasks import inputs_of
from vps_ml.evaluation.adaptation import MissRates, Replay, Sold, replayed
from vps_ml.features.roles import SERVED_SPLIT, unseen
from vps_ml.features.unchanged import kept, made_from
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.pricing.calibration import ALL

if TYPE_CHECKING:
    from vps_ml.pricing.predictor import Predictor

FIRST_DAY = date(1970, 1, 1)


@dataclass(frozen=True)
class RangeJob:
    """Sold listings (columns of `ChampionJob`, `ITEM`, `log_price`, `sold_on` and the roles), and the models."""

    rows: pl.DataFrame
    model_ids: tuple[str, ...]
    """The champions as they were judged, and their refits if those price in their place."""
    level: float
    artefacts: Artefacts
    before: pl.DataFrame | None = None
    """What the models have predicted of test listings, with what that was made from: it need not be predicted again."""
    version: str = ""
    """Of what predicted it."""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def replay_ranges(context: dg.OpExecutionContext, job: RangeJob) -> pl.DataFrame:
    """One row per model, day and segment: the miss rate in force, and how many listings sold within their range.

    Each model over the sold listings that it has not learnt from: the judged one's test listings, and of a refit, which
    has learnt from all, those that have come since.
    """
    frames = [replayed_by(context, job, model_id) for model_id in job.model_ids]
    made = [frame for frame in frames if frame.height]
    return pl.concat(made) if made else pl.DataFrame()


def replayed_by(context: dg.OpExecutionContext, job: RangeJob, model_id: str) -> pl.DataFrame:
    """One model's rows; none if nothing has sold that it has not learnt from."""
    from vps_ml.pricing.predictor import Predictor

    card = job.artefacts.models.card(model_id)
    rows = job.rows
    if card["split_kind"] != SERVED_SPLIT:
        rows = rows.filter(pl.col(f"{card['split_kind']}_role") == "test")
    rows = unseen(rows, job.artefacts, [card], card["split_kind"]).sort("listing_id")
    model = Predictor.load(job.artefacts, model_id)
    if rows.is_empty() or model.calibrating is None:
        return pl.DataFrame()
    judged = judged_rows(job, model, rows)
    rows = rows.join(judged.filter(pl.col("qualification") >= 0.5), on="listing_id", maintain_order="left")
    if rows.is_empty():
        return pl.DataFrame()
    listed, sold_on = (rows[name].cast(pl.Int32).to_numpy().astype(np.int64) for name in ("listed_on", "sold_on"))
    residual = (rows["log_price"] - rows["predicted_log_price"]) / rows["expected_error"]
    sold = Sold(listed, sold_on, rows["category"].to_numpy(), residual.to_numpy())
    replay = replayed(sold, model.calibrating, job.level)
    static = (sold.scaled_residual >= model.calibration.range_low) & (
        sold.scaled_residual <= model.calibration.range_high
    )
    context.log.info(
        f"model of {inputs_of(card['features'])}: {rows.height:,} qualified and sold since: "
        f"{replay.covered.mean():.1%} within their range, {static.mean():.1%} had it stayed as it was"
    )
    return states(sold, replay, static).with_columns(model_id=pl.lit(model_id), range_level=pl.lit(job.level))


def judged_rows(job: RangeJob, model: "Predictor", rows: pl.DataFrame) -> pl.DataFrame:
    """(listing_id, predicted_log_price, qualification, expected_error) of these listings, in any order.

    As the model predicted it when it was judged, where a listing is as it was; the others are judged now.
    """
    from vps_ml.threads import threads_for

    calibration = model.calibration
    width = calibration.range_high - calibration.range_low
    asked = rows.with_columns(made_from(rows, job.version))
    before = None if job.before is None else job.before.filter(model_id=model.model_id)
    found = kept(before if 0 < width < inf else None, asked)
    new = rows.join(found, on="listing_id", how="anti", maintain_order="left")
    parts = []
    if found.height:
        ends = (pl.col("high_log_price") - pl.col("low_log_price")) / width
        parts.append(found.select("listing_id", "predicted_log_price", "qualification", expected_error=ends))
    if new.height:
        with threads_for(new.height, model.feature_map.width):
            judged = model.judge(model.visual_features(new), new)
        columns = {
            "listing_id": new["listing_id"],
            "predicted_log_price": judged.log_price,
            "qualification": calibration.qualification(judged),
            "expected_error": judged.expected_error,
        }
        parts.append(pl.DataFrame(columns).cast({pl.Float32: pl.Float64}))
    return pl.concat(parts)


def states(sold: Sold, replay: Replay, static: np.ndarray) -> pl.DataFrame:
    """A row per day and segment, the last day being that after the newest listing and sale: the state now."""
    rows = []
    now = int(max(sold.listed_day.max(), sold.sold_day.max())) + 1
    for day, rates in {**replay.by_day, now: replay.now}.items():
        of_day = np.flatnonzero(sold.listed_day == day)
        for segment, (rate, learnt_from) in complete(rates, replay.now).items():
            chosen = of_day if segment == ALL else of_day[sold.category[of_day] == segment]
            rows.append(
                {
                    "as_of": FIRST_DAY + timedelta(days=day),
                    "segment": segment,
                    "miss_rate": rate,
                    "learnt_from": learnt_from,
                    "tested": len(chosen),
                    "covered": int(replay.covered[chosen].sum()),
                    "covered_static": int(static[chosen].sum()),
                }
            )
    return pl.DataFrame(rows)


def complete(rates: MissRates, now: MissRates) -> dict[str, tuple[float, int]]:
    """The segments of a day, those that no item had sold in yet among them."""
    return {name: (rates.overall, 0) for name in now.segments()} | rates.segments()
