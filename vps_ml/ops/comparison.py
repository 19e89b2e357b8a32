"""The op that lets champion and challenger judge the same listings."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.evaluation.comparison import Comparison, compare
from vps_ml.ops.backbones import GPU


@dataclass(frozen=True)
class ComparisonJob:
    """Sold listings with their features (see `evaluation.comparison.compare`), the models' folders, what is known."""

    rows: pl.DataFrame
    champion: str | None
    """None where there is nothing to compare."""
    challenger: str
    coverage: float
    looked: list[int]
    """On how many listings the challenger was compared before, each time."""
    home: str
    known: dict
    """Handed on to the decision."""


@dg.op(tags=GPU, pool="gpu", out={"comparison": dg.Out(), "known": dg.Out()})
def compare_with_champion(context: dg.OpExecutionContext, job: ComparisonJob) -> tuple[Comparison | None, dict]:
    """Both models' errors on the listings that neither has learnt from; None where there is nothing to compare."""
    if job.champion is None:
        return None, job.known
    folders = Path(job.champion), Path(job.challenger), Path(job.home)
    comparison = compare(job.rows, *folders, job.coverage, job.looked)
    context.log.info(comparison.told())
    return comparison, job.known
