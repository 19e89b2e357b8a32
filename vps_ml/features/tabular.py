"""The columns beside the photo that price models see: one table and one function, for training and for serving."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

HISTORIES: Mapping[str, str | None] = {"marketplace": None, "category": "category", "seller": "seller_id"}
"""History of sold prices -> the column that names its group; each falls back to the one before it."""
MOMENTS = ("q1", "median", "q3", "mean")


@dataclass(frozen=True)
class TabularColumn:
    """How a column of the joined listings becomes a number."""

    encode: Callable[[pl.Series], Float[np.ndarray, " row"]]
    missing: object = None
    """Stands for a missing value; None: the column's mean over the training rows does."""
    in_paper: bool = False
    """Whether the paper's models see it (section 3.2); the others do so unless the recipe says otherwise."""


def log_price(values: pl.Series) -> Float[np.ndarray, " row"]:
    """Natural logs of prices, NaN for a missing one."""
    return np.log(values.cast(pl.Float64).to_numpy())


def log_count(values: pl.Series) -> Float[np.ndarray, " row"]:
    """ln(1 + count), NaN for a missing one."""
    return np.log1p(values.cast(pl.Float64).to_numpy())


TABULAR: Mapping[str, TabularColumn] = {
    **{
        f"{history}_{moment}": TabularColumn(log_price, in_paper=True) for history in HISTORIES for moment in MOMENTS
    },  # money
    # A history's own sales, even if its prices fell back to a wider group.
    **{f"{history}_sales": TabularColumn(log_count, missing=0) for history in HISTORIES},
}
"""Column -> encoding. A column of `clean_listings` that is named here reaches every price model
of a recipe that sees more than the paper's columns. An encoding never changes: models in force were trained with it; a
changed one is a new column."""


def tabular_columns(beyond_paper: bool) -> tuple[str, ...]:
    """The paper's columns, with the others or without."""
    return tuple(name for name, column in TABULAR.items() if column.in_paper or beyond_paper)


def tabular_matrix(rows: pl.DataFrame, columns: Sequence[str]) -> Float[np.ndarray, "row column"]:
    """The encoded columns of some rows, before standardisation; NaN is missing.

    Raises:
        ValueError: a column is not in `TABULAR`, or the rows lack it.
    """
    unknown = [name for name in columns if name not in TABULAR or name not in rows.columns]
    if unknown:
        raise ValueError(f"no tabular column {', '.join(unknown)}: TABULAR and the rows must both have it")
    encoded = [TABULAR[name].encode(filled(rows[name], TABULAR[name].missing)) for name in columns]
    return np.stack(encoded).T if encoded else np.empty((rows.height, 0))


def filled(values: pl.Series, missing: object) -> pl.Series:
    return values if missing is None else values.fill_null(missing)
