"""What the paper's tables show, and whether it holds on this data: claims with their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from vps_assets.report.comparisons import Models, best_baseline, differences, interval, overall, percent
from vps_assets.report.published import Published
from vps_ml.evaluation.resampling import CANNOT_TELL
from vps_ml.pricing.variants import COVERAGE_TARGETS, OBJECTIVE_NAMES, WHOLE


@dataclass(frozen=True)
class Shape:
    """One claim."""

    claim: str
    figures: str
    verdict: str
    """yes, no, cannot tell, or not measured."""
    otherwise: str = ""
    """The likeliest reason if it does not hold."""
    undecided: str = ""
    """What it takes to tell."""

    @property
    def explanation(self) -> str:
        """What to show beside the verdict."""
        return {"no": self.otherwise, CANNOT_TELL: self.undecided}.get(self.verdict, "")


FEW_ITEMS = (
    "at a small δ stage 2 trains f_reg on that share of the items alone, and its gate learns from errors on items that "
    "f_reg was fitted to, so the first models of the row are the worst trained"
)
RAW = {
    "paper": "as trained the gate accepts by errors on items that f_reg was fitted to, which are smaller than on "
    "others, and by their mix; what holds is the threshold calibrated on validation"
}
OTHER_MIX = (
    "as trained the gate accepts a share of its training items, and others are another mix; what holds is the "
    "threshold calibrated on validation"
)
FEW_TESTED = "there are too few listings to tell: three standard errors are more than five points"
SATURATED = "with in-sample errors nearly every item is within the tolerance, so the gate has nothing left to refuse"
SMALL_EFFECT = (
    "dropout, weight decay and early stopping keep f_reg from memorising, which is most of what warm-up is for; in the "
    "paper too the threshold model's RMSLE is not better with it (.5553 against .5484)"
)
UNSEEN = "the gate has learnt from a few copies of such photos, or from none (cross_fitted); more sold listings help"

CLOSES = (("qualifies less,", "qualification", ""), ("prices fewer,", "qualified_share", "share_"))
"""What is claimed of the gate, the figure, and the prefix of its changes in `corruption_reports`."""
A_LITTLE = 0.02
"""A rise that nobody would call one."""
FEWEST_PHOTOS = 20
SURELY = 2.58
"""Standard errors: ten pairs of five severities at once, one-sided, at 5% together (Bonferroni)."""

RISES = "no step surely falls, and the last is surely above the first"
NOT_MEASURED = "not measured"
WIDE = 0.05
"""A share whose interval reaches further than this could be anything: it confirms nothing."""


def verdict(holds: bool) -> str:
    return "yes" if holds else "no"


def by_value(published: Published, kind: str, objective: str, column: str) -> list[tuple[float, float]]:
    """(δ or ε, mean over seeds), ascending, split by group."""
    rows = overall(published["evaluation_reports"], Models(kind, objective=objective, split_kind="group"))
    means = rows.group_by("constraint_value").agg(pl.mean(column)).drop_nulls().sort("constraint_value")
    return list(means.iter_rows())


def coverage_lands(published: Published, objective: str) -> Shape:
    """Calibrated coverage within its bar of δ for every δ: 2 points, or three standard errors."""
    coverage = by_value(published, "percentile", objective, "coverage")
    rows = dict(published.sides["group_role"].value_counts().iter_rows())
    spread = 1 / max(rows.get("validation", 0), 1) + 1 / max(rows.get("test", 0), 1)
    judged = [(d, c, max(0.02, 3 * (d * (1 - d) * spread) ** 0.5)) for d, c in coverage]
    figures = ", ".join(f"{percent(c)} (± {percent(bar)})" for _, c, bar in judged)
    claim = f"percentile, {objective}: calibrated coverage is δ for every δ, within 2 points or three standard errors"
    if len(coverage) < len(COVERAGE_TARGETS):
        return Shape(claim, figures, NOT_MEASURED)
    if not all(abs(c - d) <= bar for d, c, bar in judged):
        return Shape(claim, figures, "no")
    narrow = all(bar <= WIDE for *_, bar in judged)
    return Shape(claim, figures, "yes" if narrow else CANNOT_TELL, undecided=FEW_TESTED)


def raw_coverage_lands(published: Published, objective: str) -> Shape:
    """Coverage with the gate at 0.5, as trained, within 5 points of δ for every δ, or what chance may add to them."""
    raw = by_value(published, "percentile", objective, "raw_coverage")
    claim = f"percentile, {objective}: raw coverage (gate at 0.5) is within 5 points of δ"
    if len(raw) < len(COVERAGE_TARGETS):
        return Shape(claim, listed([r for _, r in raw]), NOT_MEASURED)
    tested = dict(by_value(published, "percentile", objective, "tested"))
    chance = max(3 * (d * (1 - d) / tested[d]) ** 0.5 for d, _ in raw)
    off, figures = max(abs(r - d) for d, r in raw), listed([r for _, r in raw])
    if chance > WIDE and off <= chance:
        return Shape(claim, figures, CANNOT_TELL, undecided=FEW_TESTED)
    return Shape(claim, figures, verdict(off <= WIDE), RAW.get(objective, OTHER_MIX))


def listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def rises(published: Published, claim: str, about: str, otherwise: str = "") -> Shape:
    """Whether a figure rises from each model of a series to the next, by the intervals of their differences.

    A step that surely falls refutes it; it is shown if the last is surely above the first.
    """
    rows = differences(published["model_comparisons"], "shapes").filter(pl.col("claim").str.starts_with(about))
    whole, steps = rows.filter(pl.col("claim").str.ends_with(WHOLE)), rows.filter(~pl.col("claim").str.ends_with(WHOLE))
    if whole.is_empty():
        return Shape(claim, "", NOT_MEASURED)
    values = [*steps["value"], whole["against_value"][0]]
    if "no" in rows["verdict"].to_list():
        return Shape(claim, listed(values), "no", otherwise)
    return Shape(claim, listed(values), whole["verdict"][0], otherwise)


def beats(row: Mapping[str, Any] | None, claim: str, otherwise: str = "") -> Shape:
    """Whether the first model of a comparison has less error, by its family's interval."""
    if row is None:
        return Shape(claim, "", NOT_MEASURED)
    return Shape(claim, interval(row), row["verdict"], otherwise)


def falls_with_severity(corruptions: pl.DataFrame) -> list[Shape]:
    """Whether the champion's gate closes as the same photos get worse, on average of all corruptions and for each.

    It does if the worst are surely below the photos as they are, and surely no severity lies above a milder one by more
    than `A_LITTLE`; it does not where one surely does. All pairs of severities are counted; few photos tell nothing.
    """
    claims = []
    parts = corruptions.sort("corruption", "severity").partition_by("corruption", as_dict=True, maintain_order=True)
    for (name,), rows in parts.items():
        for what, figure, prefix in CLOSES:
            claim = f"the champion {what} the worse photos are made: {name}"
            verdict, undecided = closes(rows, prefix)
            claims.append(Shape(claim, listed(rows[figure].to_list()), verdict, UNSEEN, undecided))
    return claims


def closes(rows: pl.DataFrame, prefix: str) -> tuple[str, str]:
    """(the verdict on one figure of one corruption's rows, by severity; what it takes to tell, where it does not)."""
    names = [prefix + name for name in ("rise", "rise_error", "change", "change_error")]
    known = rows.drop_nulls(names)
    figures, severity = known.select(names).to_numpy(), known["severity"].to_list()
    if not len(figures):
        return NOT_MEASURED, ""
    if rows["photos"].min() < FEWEST_PHOTOS:  # type: ignore[operator]
        return CANNOT_TELL, f"fewer than {FEWEST_PHOTOS} photos were made worse"
    rise, rise_error, change, change_error = figures.T
    if (rise - SURELY * rise_error).max() > A_LITTLE or change[-1] > SURELY * change_error[-1]:
        return "no", ""
    if change[-1] >= -SURELY * change_error[-1]:
        return CANNOT_TELL, "so few photos: the worst may be no lower than the photos as they are"
    highest = rise + SURELY * rise_error
    if highest.max() > A_LITTLE:
        where = f"by chance severity {severity[int(highest.argmax())]} may lie {highest.max():.2f} above a milder one"
        return CANNOT_TELL, f"{where}: more photos would tell"
    return "yes", ""


WORDS = {"aurc": "AURC", "male_of_all": "MALE of all", "male_at_0.5": "MALE of the top half (equal coverage)"}


def ablation_shapes(published: Published) -> list[Shape]:
    """MSTFE against STFE and warm-up against none, by AURC and at equal coverage."""
    rows = differences(published["model_comparisons"], "ablations")
    claims = []
    for row in rows.filter(pl.col("metric").is_in(["aurc", "male_at_0.5"])).sort("claim", "metric").to_dicts():
        reason = SMALL_EFFECT if row["claim"].startswith("warm-up") else ""
        claims.append(beats(row, f"{row['claim']}, by {WORDS[row['metric']]}", reason))
    return claims or [beats(None, "MSTFE beats STFE, warm-up beats none")]


def baseline_shapes(published: Published) -> list[Shape]:
    """The served kind of model against the strongest baseline, on both splits, by each metric."""
    claims = []
    for split_kind in ("group", "time"):
        for metric, words in WORDS.items():
            row = best_baseline(published["model_comparisons"], split_kind, metric)
            claim = f"{row['claim']}, the best baseline" if row else "the served model beats the best baseline"
            claims.append(beats(row, f"{claim} by {words} (split by {split_kind})"))
    return claims


def shapes(published: Published) -> list[Shape]:
    """What the paper's tables show and any data of ours must show too, and what we claim beyond."""
    claims: list[Shape] = []
    for objective in OBJECTIVE_NAMES:
        claims += [coverage_lands(published, objective), raw_coverage_lands(published, objective)]
        in_sample = objective == "paper"  # the others' gates learn from errors on items that no regressor saw
        claim = f"percentile, {objective}: MALE rises with coverage ({RISES})"
        claims.append(rises(published, claim, f"{objective}: MALE", FEW_ITEMS if in_sample else ""))
        claim = f"threshold, {objective}: coverage rises with ε ({RISES})"
        claims.append(rises(published, claim, f"{objective}: coverage", SATURATED if in_sample else ""))
    corrupted = falls_with_severity(published["corruption_reports"])
    return claims + ablation_shapes(published) + baseline_shapes(published) + corrupted
