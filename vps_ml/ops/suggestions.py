"""The op that prices open listings with the champion."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.embedding_files import gathered
from vps_ml.ops.backbones import GPU
from vps_ml.suggestions import Champion, suggestion


@dataclass(frozen=True)
class ChampionJob:
    """Listings with their features, for the champion to judge; its folder, the data directory.

    Columns: statistics and tasks; embedding_path and row and photo quality to suggest, photo_path to make worse.
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
    others = set(job.rows["embedding_id"]) - {champion.embedding_id}
    if others:
        raise dg.Failure(
            f"{champion.model_id} was trained on other embeddings ({champion.embedding_id}) than these listings have "
            f"({', '.join(others)}): materialise the pricing models, evaluation_reports and champion_model first."
        )
    paths = [Path(job.home) / path for path in job.rows["embedding_path"]]
    visual = gathered(paths, job.rows["embedding_row"].to_list(), champion.tasks(job.rows["tasks"][0].to_list()))
    priced = champion.judge(visual, job.rows)
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
