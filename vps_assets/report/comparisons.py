"""Models held against each other over their seeds: means, standard errors, paired margins."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from vps_assets.report.published import Published
from vps_ml.pricing.models import GATED_BASELINES


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def mean(rows: pl.DataFrame, column: str) -> float | None:
    return rows[column].mean() if rows.height else None  # type: ignore[return-value]


def standard_error(values: pl.Series) -> float | None:
    """Of the mean over seeds; None of fewer than two."""
    return float(values.std()) / values.len() ** 0.5 if values.len() > 1 else None  # type: ignore[arg-type]


def overall(reports: pl.DataFrame, **chosen: Any) -> pl.DataFrame:
    """Report rows over all test listings with these values."""
    return reports.filter(pl.col("segment") == "all", *(pl.col(name) == value for name, value in chosen.items()))


NOISE = 0.005
"""A difference of errors no larger than this counts as noise where there is one seed (findings: three worlds)."""


@dataclass(frozen=True)
class Margin:
    """How much less error one model has than another, over seeds that both were trained with."""

    mean: float
    error: float | None
    seeds: int

    @property
    def within_noise(self) -> bool:
        """Less than two standard errors over the seeds; with one seed, less than `NOISE`."""
        return abs(self.mean) <= (NOISE if self.error is None else 2 * self.error)

    def told(self) -> str:
        error = "" if self.error is None else f" ± {shown(self.error)}"
        return f"{shown(self.mean)}{error}, {self.seeds} seed{'s' if self.seeds > 1 else ''}"


def margin(better: pl.DataFrame, worse: pl.DataFrame, column: str) -> Margin | None:
    """What `worse` has more of `column`, paired by seed; None without a pair."""
    paired = better.join(worse, on="seed", suffix="_worse").select(d=pl.col(f"{column}_worse") - pl.col(column))["d"]
    gains = paired.drop_nulls()
    if gains.is_empty():
        return None
    return Margin(float(gains.mean()), standard_error(gains), gains.len())  # type: ignore[arg-type]


def best_baseline(published: Published, split_kind: str) -> tuple[str, pl.DataFrame] | None:
    """(name, report rows of every seed) of the gated baseline with the least AURC."""
    reports = published["evaluation_reports"]
    half = {"constraint_value": 0.5, "split_kind": split_kind, "constraint_kind": "baseline"}
    known = [(name, overall(reports, objective=name, **half)) for name in GATED_BASELINES]
    judged = [(mean(rows, "aurc") or 0.0, name, rows) for name, rows in known if rows.height]
    return min(judged, key=lambda pair: pair[:2])[1:] if judged else None
