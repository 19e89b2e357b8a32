"""The op that prices open listings with the champion."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.ops.backbones import GPU
from vps_ml.pricing.predictor import Champion, suggestion


@dataclass(frozen=True)
class ChampionJob:
    """Listings with their features, for the champion to judge; its folder, the data directory.

    Columns: statistics, tasks, embedding_id, _path and _row, photo_path (under the data directory), photo quality.
    """

    rows: pl.DataFrame
    champion: str
    home: str


@dg.op(tags=GPU, pool="gpu")
def suggest_prices(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per open listing: a price with its range, or the reason why there is none."""
    if job.rows.is_empty():
        return pl.DataFrame()
    champion = Champion.load(Path(job.champion))
    priced = champion.judge(champion.seen(job.rows, Path(job.home)), job.rows)
    context.log.info(f"{job.rows.height:,} open listings, {sum(p.qualification >= 0.5 for p in priced):,} qualified")
    told = [
        {
            "listing_id": row["listing_id"],
            "listed_on": row["listed_on"],
            **suggestion(said, row),
            "model_id": champion.model_id,
        }
        for row, said in zip(job.rows.iter_rows(named=True), priced, strict=True)
    ]
    return pl.DataFrame(told, infer_schema_length=None)
