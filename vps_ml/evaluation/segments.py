"""The figures of many models on the same test listings, and on each segment of them.

A marketplace of five hundred categories has a row for each of a hundred models in each: all models of a segment are
computed at once.

Axes: M model, N item (by `listing_id`, ascending), R resample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from vps_ml.evaluation.resampling import Draws, aurcs, middles

CURVE_POINTS = 20
"""A risk-coverage curve is read for the tables at 5%, 10%, ... 100%."""
INTERVALS = ("male", "rmsle", "range_coverage", "aurc")
"""Figures that have an interval over other draws of listings."""
DTYPES: Mapping[str, Any] = {
    **dict.fromkeys(("tested", "qualified"), pl.Int64),
    **dict.fromkeys(("coverage", "raw_coverage", "male", "rmsle", "male_of_all", "aurc"), pl.Float64),
    **dict.fromkeys(("male_of_top_half", "range_coverage", "range_width"), pl.Float64),
    **{f"{name}_{end}": pl.Float64 for name in INTERVALS for end in ("low", "high")},
    "risk_curve": pl.List(pl.Float64),
}
"""Of the columns: a segment may have no figure in one."""
Column = list[Any]


@dataclass(frozen=True)
class Outcomes:
    """What models predicted for the same listings."""

    error: Float[np.ndarray, "M N"]
    """Predicted less actual log price."""
    low: Float[np.ndarray, "M N"]
    """Ends of the price range, less the actual log price."""
    high: Float[np.ndarray, "M N"]
    qualification: Float[np.ndarray, "M N"]
    qualified: Bool[np.ndarray, "M N"]
    opened: Bool[np.ndarray, "M N"]
    """Whether f_cls qualified them before calibration."""

    @classmethod
    def of_models(cls, predictions: Sequence[pl.DataFrame]) -> "Outcomes":
        """Of rows of `evaluation_predictions`, a frame a model, all of the same listings in the same order.

        Raises:
            ValueError: they are not.
        """
        if not all(rows["listing_id"].equals(predictions[0]["listing_id"]) for rows in predictions):
            raise ValueError("models of one split are to be judged on the same listings, in the same order")

        needed = ("log_price", "predicted_log_price", "low_log_price", "high_log_price", "gate_logit", "qualification")
        everything = pl.concat([rows.select(*needed, "qualified") for rows in predictions])
        models = len(predictions)

        def each(column: str | pl.Expr) -> np.ndarray:
            return everything.select(column).to_series().to_numpy().reshape(models, -1)

        actual = pl.col("log_price")
        ends = ("predicted_log_price", "low_log_price", "high_log_price")
        error, low, high = (each(pl.col(name) - actual) for name in ends)
        return cls(
            error,
            low,
            high,
            each("qualification"),
            each("qualified"),
            each((pl.col("gate_logit") >= 0).fill_null(False)),
        )

    def among(self, items: Int[np.ndarray, " n"]) -> "Outcomes":
        """On these items alone."""
        return Outcomes(**{name: values[:, items] for name, values in vars(self).items()})


def figures_of(
    tested: Outcomes, gated: Bool[np.ndarray, " M"], own_gate: Bool[np.ndarray, " M"], draws: Draws
) -> dict[str, Column]:
    """Column -> each model's figure, with intervals over other draws of listings; None where there is none.

    Args:
        tested: of at least one item.
        gated: whether a model orders items by qualification.
        own_gate: whether 0.5 is a threshold that it was trained for.
        draws: of the same items.
    """
    models, items = tested.error.shape
    off, qualified = np.abs(tested.error), tested.qualified
    accepted = qualified.sum(axis=1)
    some = accepted > 0
    in_range = (tested.low <= 0) & (tested.high >= 0)
    order = np.argsort(-tested.qualification, axis=1, kind="stable")
    risk = np.cumsum(np.take_along_axis(off, order, axis=1), axis=1) / np.arange(1, items + 1)
    curve = risk[:, [-(-k * items // CURVE_POINTS) - 1 for k in range(1, CURVE_POINTS + 1)]]

    def of_accepted(values: np.ndarray) -> np.ndarray:
        return np.where(qualified, values, 0.0).sum(axis=1) / np.maximum(accepted, 1)

    figures = {
        "tested": [items] * models,
        "qualified": accepted.tolist(),
        "coverage": qualified.mean(axis=1).tolist(),
        "raw_coverage": where(own_gate, tested.opened.mean(axis=1)),
        "male": where(some, of_accepted(off)),
        "rmsle": where(some, np.sqrt(of_accepted(np.square(off)))),
        "male_of_all": off.mean(axis=1).tolist(),
        "aurc": where(gated, risk.mean(axis=1)),
        "risk_curve": where(gated, curve),
        "male_of_top_half": where(gated, risk[:, (items - 1) // 2]),
        "range_coverage": where(some, of_accepted(in_range)),
        "range_width": where(some, of_accepted(tested.high - tested.low)),
    }
    for name, drawn in drawn_figures(off, qualified, in_range, order, draws).items():
        there = gated if name == "aurc" else np.isfinite(drawn).any(axis=1)
        for end, values in zip(("low", "high"), middles(drawn), strict=True):
            figures[f"{name}_{end}"] = where(there, values)
    return figures


def where(there: Bool[np.ndarray, " M"], values: Float[np.ndarray, "M ..."]) -> Column:
    """The models' values, None of those that have none."""
    return [value if has else None for has, value in zip(there, values.tolist(), strict=True)]


def drawn_figures(
    off: Float[np.ndarray, "M N"],
    qualified: Bool[np.ndarray, "M N"],
    in_range: Bool[np.ndarray, "M N"],
    order: Int[np.ndarray, "M N"],
    draws: Draws,
) -> dict[str, Float[np.ndarray, "M R"]]:
    """The figures of `INTERVALS` in every draw; NaN where no qualified item was drawn."""
    accepted = qualified.astype(float)
    every = {"male": off, "rmsle": np.square(off), "range_coverage": in_range}
    of_accepted = {name: np.where(qualified, values, 0.0) for name, values in every.items()}
    first, alike = distinct(off, order)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in INTERVALS}
    for weights in draws:
        taken = accepted @ weights.T
        for name, values in of_accepted.items():
            none = np.full(taken.shape, np.nan)
            parts[name].append(np.divide(values @ weights.T, taken, out=none, where=taken > 0))
        parts["aurc"].append(aurcs(off[first], order[first], weights)[alike])
    found = {name: np.concatenate(drawn, axis=1) for name, drawn in parts.items()}
    return {**found, "rmsle": np.sqrt(found["rmsle"])}


def distinct(off: Float[np.ndarray, "M N"], order: Int[np.ndarray, "M N"]) -> tuple[list[int], list[int]]:
    """(one of all models with the same curve, for each model the place of its own among them).

    A baseline that is read at five coverages has one curve.
    """
    places: dict[bytes, int] = {}
    first: list[int] = []
    alike: list[int] = []
    for model, rows in enumerate(zip(off, order, strict=True)):
        place = places.setdefault(b"".join(row.tobytes() for row in rows), len(places))
        if place == len(first):
            first.append(model)
        alike.append(place)
    return first, alike
