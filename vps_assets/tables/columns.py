"""How a table's columns are declared."""

from collections.abc import Mapping

import pandera.polars as pa
import polars as pl

from vps_assets.tables.meanings import MEANINGS

UTC = pl.Datetime("us", "UTC")
TEXTS = pl.List(pl.String)


def column(
    dtype: pl.DataType | type[pl.DataType],
    description: str,
    *checks: pa.Check,
    null: bool = False,
    unique: bool = False,
) -> pa.Column:
    """A column; `null` says whether it may be missing."""
    return pa.Column(dtype, list(checks), nullable=null, unique=unique, description=description)


OF_WHAT = column(
    pl.UInt64, "Hash of its inputs: with equal ones it is not made again; null: made before there was one", null=True
)
"""`made_from` of tables that keep rows whose listing is as it was (`vps_ml.features.unchanged`)."""


def fraction() -> pa.Check:
    """0 to 1."""
    return pa.Check.in_range(0, 1)


def table(name: str, columns: Mapping[str, pa.Column], unique: list[str] | None = None) -> pa.DataFrameSchema:
    """A table with exactly these columns in this order; `unique` names the columns of its key."""
    return pa.DataFrameSchema(
        dict(columns), name=name, unique=unique, strict=True, ordered=True, description=MEANINGS[name]
    )
