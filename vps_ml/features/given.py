"""What a listing has to be priced by."""

import polars as pl

from vps_ml.features.tabular import SAID_LABELS

SAID = ("title", "description", *SAID_LABELS)
"""Columns of a listing that hold what its seller says."""


def inputs_of_rows(rows: pl.DataFrame) -> pl.Series:
    """What each listing with a photo is priced by: `both` where its seller says anything, else `photo`."""
    nothing = [
        pl.col(name).is_null() | (pl.col(name).list.len() == 0 if rows.schema[name] == pl.List else pl.lit(False))
        for name in SAID
    ]
    return rows.select(pl.when(pl.all_horizontal(nothing)).then(pl.lit("photo")).otherwise(pl.lit("both"))).to_series()
