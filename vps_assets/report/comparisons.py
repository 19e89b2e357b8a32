"""Models held against each other: means over seeds, and differences with their intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

BY = {"photo": "the photo", "words": "words", "both": "photo and words"}
"""What a model prices by, in words."""
SIDES = {"group": "by group", "time": "by time: newest days"}
"""How training and test are split, in words."""


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


def differences(model_comparisons: pl.DataFrame, family: str, metric: str | None = None) -> pl.DataFrame:
    """A family's rows of `model_comparisons`, of one metric or all."""
    rows = model_comparisons.filter(pl.col("family") == family)
    return rows if metric is None else rows.filter(pl.col("metric") == metric)


def interval(row: Mapping[str, Any]) -> str:
    """A difference with the interval that holds for its family at once."""
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    ends = f"{row['family_low']:+.4f}, {row['family_high']:+.4f}"
    return f"{row['difference']:+.4f} [{ends}], {row['groups']:,} groups, {seeds}"


def best_baseline(model_comparisons: pl.DataFrame, split_kind: str, metric: str = "aurc") -> dict[str, Any] | None:
    """The comparison of the served kind of model with the baseline that has the least of this metric."""
    rows = differences(model_comparisons, f"served, {split_kind}", metric).filter("baseline")
    return None if rows.is_empty() else rows.sort("against_value", "against").row(0, named=True)
