"""What the paper's tables show, and whether it holds on this data: claims with their figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from vps_assets.report.comparisons import NOISE, Models, best_baseline, margin, overall, percent
from vps_assets.report.published import Published
from vps_assets.tables.splits import with_roles
from vps_ml.pricing.variants import COVERAGE_TARGETS


@dataclass(frozen=True)
class Shape:
    """One claim."""

    claim: str
    figures: str
    verdict: str
    """yes, no, within noise, or not measured."""
    otherwise: str = ""
    """The likeliest reason if it does not hold."""

    @property
    def explanation(self) -> str:
        """What to show beside the verdict."""
        return self.otherwise if self.verdict in ("no", "within noise") else ""


FEW_ITEMS = (
    "at a small δ stage 2 trains f_reg on that share of the items alone, and its gate learns from errors on items that "
    "f_reg was fitted to, so the first models of the row are the worst trained"
)
RAW = (
    "as trained the gate accepts by the errors it learnt from, which are smaller on training items, and by their mix "
    "of items; what holds is the threshold calibrated on validation"
)
SATURATED = "with in-sample errors nearly every item is within the tolerance, so the gate has nothing left to refuse"
SMALL_EFFECT = (
    "dropout, weight decay and early stopping keep f_reg from memorising, which is most of what warm-up is for; in the "
    "paper too the threshold model's RMSLE is not better with it (.5553 against .5484)"
)
UNSEEN = (
    "so bad a photo is refused, but is like nothing the gate was trained on: among such photos its order means little"
)

NOT_MEASURED = "not measured"


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
    sides = with_roles(published["clean_listings"])["group_role"].value_counts()
    rows = dict(sides.iter_rows())
    spread = 1 / max(rows.get("validation", 0), 1) + 1 / max(rows.get("test", 0), 1)
    judged = [(d, c, max(0.02, 3 * (d * (1 - d) * spread) ** 0.5)) for d, c in coverage]
    figures = ", ".join(f"{percent(c)} (± {percent(bar)})" for _, c, bar in judged)
    claim = f"percentile, {objective}: calibrated coverage is δ for every δ, within 2 points or three standard errors"
    if len(coverage) < len(COVERAGE_TARGETS):
        return Shape(claim, figures, NOT_MEASURED)
    return Shape(claim, figures, verdict(all(abs(c - d) <= bar for d, c, bar in judged)))


def raw_coverage_lands(published: Published, objective: str) -> Shape:
    """Coverage with the gate at 0.5, as trained, within 5 points of δ for every δ."""
    raw = by_value(published, "percentile", objective, "raw_coverage")
    claim = f"percentile, {objective}: raw coverage (gate at 0.5) is within 5 points of δ"
    if len(raw) < len(COVERAGE_TARGETS):
        return Shape(claim, listed(raw), NOT_MEASURED)
    return Shape(claim, listed(raw), verdict(all(abs(r - d) <= 0.05 for d, r in raw)), RAW)


def listed(values: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{value:.3f}" for _, value in values)


def rises(claim: str, values: Sequence[tuple[float, float]], otherwise: str = "") -> Shape:
    """Whether the second of each pair rises, but for noise, from the first pair to the last."""
    if len(values) < 2:
        return Shape(claim, listed(values), NOT_MEASURED)
    figures = [value for _, value in values]
    steps = all(b >= a - NOISE for a, b in pairwise(figures))
    return Shape(claim, listed(values), verdict(steps and figures[-1] > figures[0]), otherwise)


def beats(claim: str, better: pl.DataFrame, worse: pl.DataFrame, column: str, otherwise: str = "") -> Shape:
    """Whether the first has less error than the second, seed by seed, by more than the noise."""
    gain = margin(better, worse, column)
    if gain is None:
        return Shape(claim, "", NOT_MEASURED)
    figures = f"less by {gain}"
    return Shape(claim, figures, "within noise" if gain.within_noise else verdict(gain.mean > 0), otherwise)


def falls_with_severity(corruptions: pl.DataFrame) -> list[Shape]:
    """Whether the champion's qualification falls as the same photos get worse; steps up within two errors are noise.

    Averaged over the corruptions first, then for each.
    """
    error = pl.col("change_error").pow(2).sum().sqrt() / pl.len()
    averaged = corruptions.group_by("severity").agg(pl.mean("qualification", "change"), change_error=error)
    by_name = corruptions.sort("corruption").partition_by("corruption", as_dict=True, maintain_order=True)
    parts = [("on average", averaged), *((str(name), part) for (name,), part in by_name.items())]
    claims = []
    for name, part in parts:
        rows = part.sort("severity")
        points = list(rows.select("change", "change_error").iter_rows())
        steps = all(b - a <= 2 * max(a_error, b_error) for (a, a_error), (b, b_error) in pairwise(points))
        claim = f"the champion's qualification falls as photos are made worse: {name}"
        figures = ", ".join(f"{value:.3f}" for value in rows["qualification"])
        claims.append(Shape(claim, figures, verdict(steps and points[-1][0] < 0) if points else NOT_MEASURED, UNSEEN))
    return claims


def ablation_shapes(published: Published) -> list[Shape]:
    """MSTFE against STFE and warm-up against none, by AURC and at equal coverage."""
    reports = published["ablation_reports"]
    compared = (
        ("MSTFE beats STFE", "features", pl.col("features") == "MSTFE", ""),
        ("warm-up beats none", "warm_up", pl.col("warm_up"), SMALL_EFFECT),
    )
    claims: list[Shape] = []
    for kind in ("percentile", "threshold"):
        for claim, ablation, winner, reason in compared:
            rows = overall(reports, Models(kind, ablation=ablation))
            first, second = rows.filter(winner), rows.filter(~winner)
            claims.append(beats(f"{kind}: {claim} by AURC", first, second, "aurc", reason))
            at_equal_coverage = f"{kind}: {claim} over the top half (equal coverage)"
            claims.append(beats(at_equal_coverage, first, second, "male_of_top_half", reason))
    return claims


def baseline_shapes(published: Published) -> list[Shape]:
    """The served objective against the strongest baseline, on both splits."""
    claims = []
    for split_kind in ("group", "time"):
        baseline = best_baseline(published, split_kind)
        ours = overall(published["evaluation_reports"], Models("percentile", 0.5, "cross_fitted", split_kind))
        if baseline:
            name = baseline[0].replace("_", " ")
            claim = f"cross_fitted beats {name}, the best baseline, by AURC (split by {split_kind})"
            claims.append(beats(claim, ours, baseline[1], "aurc"))
    return claims


def shapes(published: Published) -> list[Shape]:
    """What the paper's tables show and any data of ours must show too, and what we claim beyond."""
    claims: list[Shape] = []
    for objective in ("paper", "cross_fitted"):
        claims += [coverage_lands(published, objective), raw_coverage_lands(published, objective)]
        error = by_value(published, "percentile", objective, "male")
        claims.append(rises(f"percentile, {objective}: MALE rises with coverage", error, FEW_ITEMS))
        coverage = by_value(published, "threshold", objective, "coverage")
        claims.append(rises(f"threshold, {objective}: coverage rises with ε", coverage, SATURATED))
    corrupted = falls_with_severity(published["corruption_reports"])
    return claims + ablation_shapes(published) + baseline_shapes(published) + corrupted
