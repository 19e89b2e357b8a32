"""The ops that tell how fast items sell by what is asked for them, and how well that is told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.features.roles import ITEM, fitted_items
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.ops.comparables import with_inputs

if TYPE_CHECKING:
    from vps_ml.pricing.selling import Offered

MOST_LISTINGS = 20_000
"""The newest: how fast things sell changes with the years, and this many tell it."""
FEWEST_SALES = 200
"""With fewer nothing is said."""
DAY_US = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SaleJob:
    """Listings with an asking price, sold and open, and the models that suggest prices.

    Columns: listing_id, listed_on, listed_at, sold_at, price, sold_price, group_key, photo_hash, and those of
    `ChampionJob`.
    """

    rows: pl.DataFrame
    champions: Mapping[str, str]
    """Inputs -> the model that prices by them."""
    artefacts: Artefacts


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def fit_sale_chances(context: dg.OpExecutionContext, job: SaleJob) -> pl.DataFrame:
    """One row per inputs, category and number of days: how the chance of a sale goes with the asking price."""
    from vps_ml.evaluation.sales import horizons_known
    from vps_ml.pricing.asking import Choice, chances_within
    from vps_ml.pricing.calibration import ALL
    from vps_ml.pricing.selling import fit_hazard

    found: list[dict] = []
    for inputs, model_id, offered in offered_by_inputs(context, job):
        horizons = horizons_known(offered)
        if not horizons:
            continue
        hazard = fit_hazard(offered)
        choice = Choice.of(hazard, offered)
        known = {"inputs": inputs, "model_id": model_id, "known_until": day_of(offered.until)}
        for category in (ALL, *hazard.categories):
            mine = offered if category == ALL else offered.where(offered.category == category)
            counts = {"category": category, "listings": len(mine), "sales": int(mine.sold.sum())}
            found += [{**known, **counts, **chances_within(choice, category, days)} for days in horizons]
    return pl.DataFrame(found, infer_schema_length=None)


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def measure_sales(context: dg.OpExecutionContext, job: SaleJob) -> pl.DataFrame:
    """One row per inputs, number of days and segment: how well the newest days' sales were foretold."""
    from vps_ml.evaluation.sales import foretold, horizons_known, sale_figures

    found: list[dict] = []
    for inputs, model_id, offered in offered_by_inputs(context, job):
        for days in horizons_known(offered):
            told = foretold(offered, days, FEWEST_SALES)
            context.log.info(f"{inputs}: sales of {len(told.chance):,} listings within {days} days foretold")
            found += [{"inputs": inputs, "model_id": model_id, **row} for row in sale_figures(told, days)]
    return pl.DataFrame(found, infer_schema_length=None)


def offered_by_inputs(context: dg.OpExecutionContext, job: SaleJob) -> "Iterator[tuple[str, str, Offered]]":
    """(inputs, model, what became of the listings that it gives a price), of models with enough sales to tell."""
    from vps_ml.pricing.models import OUT_OF_FOLD
    from vps_ml.pricing.selling import tells

    for inputs, model_id in job.champions.items() if job.rows.height else ():
        own = job.artefacts.models.frame(model_id, OUT_OF_FOLD)
        if own is None:
            context.log.warning(f"{inputs}: {model_id} is of older code, which kept no prices of what it had not seen")
            continue
        offered = offered_by(job, inputs, model_id, own)
        sales = int(offered.sold.sum())
        context.log.info(f"{inputs}: {len(offered):,} listings with a price, {sales:,} of them sold")
        if sales >= FEWEST_SALES and tells(offered):
            yield inputs, model_id, offered


def offered_by(job: SaleJob, inputs: str, model_id: str, own: pl.DataFrame) -> "Offered":
    """The newest listings that a model gives a price, by prices that it had not learnt from theirs.

    Args:
        job: the listings.
        inputs: what the model prices by.
        model_id: the model.
        own: its out-of-fold prices of the listings that it was trained on.
    """
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.pricing.selling import Offered

    model = Predictor.load(job.artefacts, model_id)
    moments = [in_days(job.rows[name]) for name in ("listed_at", "sold_at")]
    until = float(np.nanmax(np.concatenate(moments)))
    rows = with_inputs(job.rows, inputs).sort("listed_at", "listing_id").tail(MOST_LISTINGS)
    rows = rows.join(own, on="listing_id", how="left", maintain_order="left")
    card = job.artefacts.models.card(model_id)
    learnt = fitted_items(job.artefacts, card["roles_id"], [card["split_kind"]], ["train"])
    seen = pl.any_horizontal(pl.col(column).is_in(learnt[column].unique().implode()) for column in ITEM)
    rows = rows.filter(pl.col("predicted_log_price").is_not_null() | ~seen)  # an item that was listed again
    predicted = model.predicted(model.matrix(rows)) if rows.height else []
    suggested = np.where(
        rows["predicted_log_price"].is_not_null().to_numpy(),
        rows["predicted_log_price"].to_numpy(),
        np.array([one.log_price for one in predicted]),
    )
    listed, sold_at = (
        rows[name].dt.epoch("us").cast(pl.Float64).to_numpy() / DAY_US for name in ("listed_at", "sold_at")
    )
    sold, asked = ~np.isnan(sold_at), np.log(rows["price"].to_numpy())
    offered = Offered(
        ratio=asked - suggested,
        category=rows["category"].to_numpy(),
        group=rows["group_key"].to_numpy(),
        listed=listed,
        days=np.where(sold, sold_at, until) - listed,
        sold=sold,
        above=asked - np.log(rows["sold_price"].cast(pl.Float64).to_numpy()),
    )
    return offered.where(np.array([one.qualification >= 0.5 for one in predicted], dtype=bool))


def in_days(moments: pl.Series) -> np.ndarray:
    """UTC moments as days since 1970; NaN where there is none."""
    return moments.dt.epoch("us").cast(pl.Float64).to_numpy() / DAY_US


def day_of(days: float) -> date:
    """The UTC day of a moment, in days."""
    return (EPOCH + timedelta(days=days)).date()
