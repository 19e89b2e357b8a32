"""The op that prices open listings with the champion."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.ops import GPU_POOL, GPU_TAGS


@dataclass(frozen=True)
class ChampionJob:
    """Listings for the champion to judge.

    Columns: listing_id, listed_on, photo_hash, embedding_id, _path and _row, tasks, the tabular columns, and the
    photo's quality.
    """

    rows: pl.DataFrame
    champion_id: str
    artefacts: Artefacts
    miss_rates: Mapping[str, float] = field(default_factory=dict)
    """Segment -> what share of its ranges may miss now; empty: as the champion was calibrated."""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def suggest_prices(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per open listing: a price with its range, or the reason why there is none."""
    from vps_ml.pricing.predictor import Predictor, suggestion

    if job.rows.is_empty():
        return pl.DataFrame()
    champion = Predictor.load(job.artefacts, job.champion_id)
    predicted = champion.predict(champion.visual_features(job.rows), job.rows, job.miss_rates)
    qualified = sum(prediction.qualification >= 0.5 for prediction in predicted)
    context.log.info(f"{job.rows.height:,} open listings, {qualified:,} qualified")
    suggested = [
        {
            "listing_id": row["listing_id"],
            "listed_on": row["listed_on"],
            **suggestion(prediction, row),
            "model_id": champion.model_id,
        }
        for row, prediction in zip(job.rows.iter_rows(named=True), predicted, strict=True)
    ]
    return pl.DataFrame(suggested, infer_schema_length=None)
