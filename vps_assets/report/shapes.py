"""What the paper's tables show, and whether it holds on this data: claims with their figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from vps_assets.report.published import Published
from vps_assets.report.tables import best_baseline, overall, percent, shown, standard_error
from vps_assets.splits import with_roles
from vps_ml.variants import COVERAGE_TARGETS

NOISE = 0.005
"""A step down of the error no larger than this counts as noise (findings: three worlds)."""


@dataclass(frozen=True)
class Shape:
    """One claim."""

    claim: str
    figures: str
    holds: bool | None
    """None where it cannot be told."""


def by_value(published: Published, kind: str, objective: str, column: str) -> list[float]:
    """The mean over seeds at each δ or ε, ascending, split by group."""
    rows = overall(published["evaluation_reports"], constraint_kind=kind, objective=objective, split_kind="group")
    return rows.group_by("constraint_value").agg(pl.mean(column)).sort("constraint_value")[column].to_list()


def coverage_lands(published: Published, objective: str) -> Shape:
    """Calibrated coverage within its bar of δ for every δ: 2 points, or three standard errors."""
    coverage = by_value(published, "percentile", objective, "coverage")
    sides = with_roles(published["clean_listings"])["group_role"].value_counts()
    rows = dict(sides.iter_rows())
    spread = 1 / max(rows.get("validation", 0), 1) + 1 / max(rows.get("test", 0), 1)
    bars = [max(0.02, 3 * (d * (1 - d) * spread) ** 0.5) for d in COVERAGE_TARGETS]
    pairs = list(zip(coverage, COVERAGE_TARGETS, bars, strict=False))
    figures = ", ".join(f"{percent(c)} (± {percent(bar)})" for c, _, bar in pairs)
    claim = f"percentile, {objective}: calibrated coverage is δ for every δ, within 2 points or three standard errors"
    return Shape(claim, figures, all(abs(c - d) <= bar for c, d, bar in pairs) if coverage else None)


def raw_coverage_lands(published: Published, objective: str) -> Shape:
    raw = by_value(published, "percentile", objective, "raw_coverage")
    pairs = list(zip(raw, COVERAGE_TARGETS, strict=False))
    holds = all(abs(r - d) <= 0.05 for r, d in pairs) if raw else None
    return Shape(f"percentile, {objective}: raw coverage (gate at 0.5) is within 5 points of δ", listed(raw), holds)


def listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def rises(claim: str, values: Sequence[float]) -> Shape:
    """Whether the values rise, but for noise, from the first to the last."""
    steps = zip(values, values[1:], strict=False)
    holds = all(b >= a - NOISE for a, b in steps) and values[-1] > values[0] if len(values) > 1 else None
    return Shape(claim, listed(values), holds)


def margin(better: pl.DataFrame, worse: pl.DataFrame, column: str) -> tuple[float, float | None] | None:
    """(mean over seeds of what `worse` has more, its standard error), paired by seed; None without pairs."""
    paired = better.join(worse, on="seed", suffix="_worse").select(d=pl.col(f"{column}_worse") - pl.col(column))["d"]
    paired = paired.drop_nulls()
    return (float(paired.mean()), standard_error(paired)) if paired.len() else None  # type: ignore[arg-type]


def beats(claim: str, better: pl.DataFrame, worse: pl.DataFrame, column: str) -> Shape:
    """Whether the first has less error than the second, seed by seed."""
    found = margin(better, worse, column)
    if found is None:
        return Shape(claim, "not measured", None)
    gain, error = found
    told = f"less by {shown(gain)}" + (f" ± {shown(error)}" if error is not None else "")
    return Shape(claim, f"{told}, {better.height} seed{'s' if better.height > 1 else ''}", gain > 0)


def ablation_shapes(published: Published) -> list[Shape]:
    """MSTFE against STFE and warm-up against none, by AURC and at equal coverage."""
    reports = published["ablation_reports"]
    told: list[Shape] = []
    compared: tuple[tuple[str, str, str, Any, Any], ...] = (
        ("MSTFE beats STFE", "features", "features", "MSTFE", "STFE"),
        ("warm-up beats none", "warm_up", "warm_up", True, False),
    )
    for kind in ("percentile", "threshold"):
        for claim, ablation, column, winner, loser in compared:
            first, second = (
                overall(reports, ablation=ablation, constraint_kind=kind, **{column: value})
                for value in (winner, loser)
            )
            told.append(beats(f"{kind}: {claim} by AURC", first, second, "aurc"))
            told.append(beats(f"{kind}: {claim} over the top half (equal coverage)", first, second, "male_of_top_half"))
    return told


def rival_shapes(published: Published) -> list[Shape]:
    """The served objective against the strongest baseline, on both splits."""
    told = []
    for split_kind in ("group", "time"):
        rival = best_baseline(published, split_kind)
        ours = overall(
            published["evaluation_reports"],
            objective="cross_fitted",
            constraint_kind="percentile",
            constraint_value=0.5,
            split_kind=split_kind,
        )
        if rival:
            name = rival[0].replace("_", " ")
            told.append(beats(f"cross_fitted beats {name}, the best baseline, by AURC (split by {split_kind})", ours,
                              rival[1], "aurc"))  # fmt: skip
    return told


def shapes(published: Published) -> list[Shape]:
    """What the paper's tables show and any data of ours must show too, and what we claim beyond."""
    told: list[Shape] = []
    for objective in ("paper", "cross_fitted"):
        told += [coverage_lands(published, objective), raw_coverage_lands(published, objective)]
        error = by_value(published, "percentile", objective, "male")
        told.append(rises(f"percentile, {objective}: MALE rises with coverage", error))
        coverage = by_value(published, "threshold", objective, "coverage")
        told.append(rises(f"threshold, {objective}: coverage rises with ε", coverage))
    return told + ablation_shapes(published) + rival_shapes(published)
