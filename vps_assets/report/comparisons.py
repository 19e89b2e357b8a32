"""Models held against each other over their seeds: means, standard errors, paired margins."""

from dataclasses import dataclass

import polars as pl

from vps_assets.report.published import Published
from vps_ml.pricing.baselines import gated_baselines


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def mean(rows: pl.DataFrame, column: str) -> float | None:
    return rows[column].mean() if rows.height else None  # type: ignore[return-value]


def standard_error(values: pl.Series) -> float | None:
    """Of the mean over seeds; None for fewer than two."""
    return float(values.std()) / values.len() ** 0.5 if values.len() > 1 else None  # type: ignore[arg-type]


@dataclass(frozen=True)
class Models:
    """Which models a table or claim is about; None: all of them."""

    constraint_kind: str | None = None
    constraint_value: float | None = None
    objective: str | None = None
    split_kind: str | None = None
    ablation: str | None = None
    seed: int | None = None

    @property
    def condition(self) -> pl.Expr:
        """Holds for the report rows of these models."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return pl.all_horizontal(pl.lit(True), *(pl.col(name) == value for name, value in given.items()))


ANY = Models()


def overall(reports: pl.DataFrame, models: Models = ANY) -> pl.DataFrame:
    """The models' report rows over all test listings."""
    return reports.filter(pl.col("segment") == "all", models.condition)


NOISE = 0.005
"""With one seed, a difference of errors no larger than this counts as noise (findings: three worlds)."""


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

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {shown(self.error)}"
        return f"{shown(self.mean)}{error}, {self.seeds} seed{'s' if self.seeds > 1 else ''}"


def margin(better: pl.DataFrame, worse: pl.DataFrame, column: str) -> Margin | None:
    """How much more of `column` the worse model has, paired by seed; None without a pair."""
    paired = better.join(worse, on="seed", suffix="_worse").select(d=pl.col(f"{column}_worse") - pl.col(column))["d"]
    gains = paired.drop_nulls()
    if gains.is_empty():
        return None
    return Margin(float(gains.mean()), standard_error(gains), gains.len())  # type: ignore[arg-type]


def best_baseline(published: Published, split_kind: str) -> tuple[str, pl.DataFrame] | None:
    """(name, report rows of every seed) of the gated baseline with the least AURC."""
    reports = published["evaluation_reports"]
    of_name = {name: overall(reports, Models("baseline", 0.5, name, split_kind)) for name in gated_baselines()}
    judged = [(mean(rows, "aurc") or 0.0, name, rows) for name, rows in of_name.items() if rows.height]
    return min(judged, key=lambda pair: pair[:2])[1:] if judged else None
