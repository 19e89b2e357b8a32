"""The op that prices open listings with the champion."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.embedding_files import gathered
from vps_ml.ops.backbones import GPU
from vps_ml.suggestions import Champion, suggestion


@dataclass(frozen=True)
class SuggestionJob:
    """Open listings with statistics, embedding_path and row, tasks and photo quality; the champion's folder."""

    rows: pl.DataFrame
    champion: str
    home: str


@dg.op(tags=GPU, pool="gpu")
def suggest_prices(context: dg.OpExecutionContext, job: SuggestionJob) -> pl.DataFrame:
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
