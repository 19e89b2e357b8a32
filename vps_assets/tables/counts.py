"""What is counted of each partition that is written, as the Dagster UI shows and plots it."""

from collections.abc import Mapping

import polars as pl

from vps_ml.photos.quality import QUALITY_COLUMNS

COUNTED: Mapping[str, Mapping[str, pl.Expr]] = {
    "raw_listings": {"bad": (pl.col("landing_reasons").list.len() > 0).sum()},
    "clean_listings": {"sold": pl.col("log_price").count(), "open": pl.col("log_price").null_count()},
    "image_embeddings": {f"median {name}": pl.col(name).median() for name in QUALITY_COLUMNS},
    "text_embeddings": {
        "with words": (pl.col("words") > 0).mean(),
        "with a price, masked": pl.col("price_masked").mean(),
    },
    "task_backbones": {
        "validation score": pl.col("validation_score").mean(),
        "labels": pl.col("labels").sum(),
        "photos": pl.col("photos").sum(),
    },
    "price_suggestions": {"qualified": pl.col("qualified").sum()},
    "suggestion_history": {"listings": pl.col("listing_id").n_unique()},
    "suggestion_comparables": {"listings": pl.col("listing_id").n_unique()},
}
"""Table -> name -> figure of the rows of one partition."""
OF_EACH: Mapping[str, Mapping[str, str]] = {
    "quarantined_listings": {"reason": "reasons"},
    "price_suggestions": {"by": "inputs", "reason": "reason"},
}
"""Table -> word before the value -> column whose values are counted."""


MOST_VALUES = 20
"""Of a column; a reason may name a number, so that there are as many as rows."""


def counted(table: str, rows: pl.DataFrame) -> dict[str, float]:
    """The figures of one partition's rows; those that no row tells are left out."""
    found = rows.select(**COUNTED[table]).row(0, named=True) if table in COUNTED else {}
    for word, column in OF_EACH.get(table, {}).items():
        values = rows[column].explode() if rows.schema[column] == pl.List else rows[column]
        counts = values.drop_nulls().value_counts(sort=True).rows()
        found |= {f"{word}: {value}": count for value, count in counts[:MOST_VALUES]}
        found |= {f"{word}: others": sum(count for _, count in counts[MOST_VALUES:])} if counts[MOST_VALUES:] else {}
    return {name: value for name, value in found.items() if value is not None}
