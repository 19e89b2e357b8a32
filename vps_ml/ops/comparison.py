"""The op in which champion and challenger judge the same listings."""

from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.evaluation.comparison import FEWEST, Comparison, compared
from vps_ml.evaluation.resampling import Judged
from vps_ml.features.roles import unseen
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.recipes import Recipe


@dataclass(frozen=True)
class ComparisonJob:
    """Sold listings (columns of `ChampionJob`, `ITEM`, log_price and the roles), and the models to compare on them."""

    rows: pl.DataFrame
    inputs: str
    """What both price by (`vps_ml.backbones.tasks.INPUTS`)."""
    current_id: str | None
    """The champion when the job was made; None before the first."""
    champion_id: str | None
    """The champion if it can be compared, else None."""
    challenger_id: str
    coverage: float
    looks: list[int]
    """On how many listings the challenger was compared before, each time."""
    first: bool
    """Whether nothing was decided about the challenger before."""
    may_win: bool
    """Whether the challenger is to be refitted if it wins: it is another model that was not rolled back, or it is the
    champion and its refit is lost."""
    recipe: Recipe
    artefacts: Artefacts


@dataclass(frozen=True)
class ComparisonResult:
    """What the decision is made from."""

    inputs: str
    current_id: str | None
    """The champion when the comparison began."""
    challenger_id: str
    comparison: Comparison | None
    """None if there was nothing to compare."""
    split_kind: str = "time"
    """On which the challenger was trained and judged."""
    served_as: str | None = None
    """The model that is to be in force, fitted again on nine tenths of all sold listings, if the two behave alike."""
    refit_evidence: str = ""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def compare_with_champion(context: dg.OpExecutionContext, jobs: list[ComparisonJob]) -> list[ComparisonResult]:
    """Each challenger beside the champion of its inputs."""
    return [compared_by(job, context.log.info) for job in jobs]


def compared_by(job: ComparisonJob, tell: Callable[[str], None]) -> ComparisonResult:
    """Both models' errors on the listings that neither has learnt from; the refit of the one that wins.

    A champion that holds is fitted again too, the first time that a challenger is refused: when models are trained
    anew, prices come from one that has learnt from all sales. Not at each comparison, or open listings would be priced
    anew every day; nor after a challenger that is surely worse, whose data the refit would learn from.
    """
    from vps_ml.features.dataset import PricingDataset
    from vps_ml.pricing.refit import can_refit, refitted

    comparison = None
    if job.champion_id is not None:
        comparison = comparison_of(job, job.champion_id)
        tell(f"{job.inputs}: {comparison.evidence}")
    nothing_new = ComparisonResult(job.inputs, job.current_id, job.challenger_id, comparison)
    if not job.may_win:
        return nothing_new
    dataset, in_force = PricingDataset(job.rows, job.recipe, job.artefacts), job.challenger_id
    if comparison is not None and not comparison.better:
        assert job.champion_id is not None, "it was compared"
        in_force = job.champion_id
        if not job.first or comparison.surely_worse or not can_refit(dataset, in_force):
            return nothing_new
    refit = refitted(dataset, in_force, tell)
    tell(f"{job.inputs}: {refit.evidence}")
    served_as = refit.model_id if refit.alike else None
    split_kind = job.artefacts.models.card(job.challenger_id)["split_kind"]
    return ComparisonResult(
        job.inputs, job.current_id, job.challenger_id, comparison, split_kind, served_as, refit.evidence
    )


def comparison_of(job: ComparisonJob, champion_id: str) -> Comparison:
    """Both models on the challenger's test rows, without those that either has learnt from."""
    cards = {model_id: job.artefacts.models.card(model_id) for model_id in (champion_id, job.challenger_id)}
    rows = job.rows.filter(pl.col(f"{cards[job.challenger_id]['split_kind']}_role") == "test")
    for card in cards.values():
        rows = unseen(rows, job.artefacts, [card], card["split_kind"])
    if rows.height < FEWEST:
        return compared(rows, None, None, job.coverage, job.looks)
    champion, challenger = (judged(job.artefacts, model_id, rows) for model_id in (champion_id, job.challenger_id))
    return compared(rows, champion, challenger, job.coverage, job.looks)


def judged(artefacts: Artefacts, model_id: str, rows: pl.DataFrame) -> Judged:
    """A model's errors and qualifications on sold listings."""
    from vps_ml.pricing.predictor import Predictor

    model = Predictor.load(artefacts, model_id)
    predicted = model.predict(model.visual_features(rows), rows)
    error = np.abs(np.array([p.log_price for p in predicted]) - rows["log_price"].to_numpy())
    return Judged(error, np.array([p.qualification for p in predicted]))
