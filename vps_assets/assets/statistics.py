"""What items sold for before a day: over all, by category, by seller."""

from datetime import date, timedelta

import dagster as dg
import polars as pl

from vps_assets.assets.options import table_options
from vps_ml.features import HISTORIES, MOMENTS
from vps_ml.statistics import price_history

EPOCH = date(1970, 1, 1)
KEYS = {"marketplace": None, "category": "category", "seller": "seller_id"}


def history_table(clean_listings: pl.DataFrame, key: str | None) -> pl.DataFrame:
    """Quartiles and mean of sold prices as of each day after a sale, per value of `key` (or over all)."""
    sold = clean_listings.filter(pl.col("sold_on").is_not_null())
    if key:
        sold = sold.filter(pl.col(key).is_not_null())
    names = sold[key].unique().sort() if key else pl.Series([""])
    group = names.search_sorted(sold[key]).to_numpy() if key else pl.zeros(sold.height, pl.Int64, eager=True).to_numpy()
    days = (sold["sold_on"] - EPOCH).dt.total_days()
    history = price_history(sold["sold_price"].to_numpy(), days.to_numpy(), group.astype("int64"))
    columns: dict[str, object] = {"as_of": [EPOCH + timedelta(days=int(day)) for day in history.as_of_day]}
    if key:
        columns[key] = names.gather(history.group)
    quartiles = dict(zip(MOMENTS[:3], history.quartiles.T, strict=True))
    return pl.DataFrame({**columns, "sales": history.sales, **quartiles, "mean": history.mean})


def with_statistics(listings: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Each listing's fifteen statistics, as of its own listing date (names in `vps_ml.features`).

    A row of a table is of `sold_on < as_of` and is in force from `as_of`, so the newest with
    `as_of <= listed_on` sees no sale of that day or later: not the listing's own either. A group without
    history falls back to the next wider one; its count stays zero.
    """
    joined = listings.with_row_index("_order").sort("listed_on")
    for history in HISTORIES:
        key = KEYS[history]
        named = {moment: f"{history}_{moment}" for moment in (*MOMENTS, "sales")}
        right = tables[history].rename(named).sort("as_of")
        joined = joined.join_asof(
            right, left_on="listed_on", right_on="as_of", by=key, strategy="backward", check_sortedness=False
        ).drop("as_of")
    wider = [None, "marketplace", "category"]
    for history, fallback in zip(HISTORIES, wider, strict=True):
        if fallback:
            filled = [pl.coalesce(f"{history}_{m}", f"{fallback}_{m}").alias(f"{history}_{m}") for m in MOMENTS]
            joined = joined.with_columns(filled)
    counts = [pl.col(f"{history}_sales").fill_null(0) for history in HISTORIES]
    return joined.with_columns(counts).sort("_order").drop("_order")


def history_metadata(rows: pl.DataFrame) -> dict:
    return {"sales": rows["sales"].max() or 0, "newest": str(rows["as_of"].max())}


@dg.asset(**table_options("marketplace_statistics", "statistics"))
def marketplace_statistics(context: dg.AssetExecutionContext, clean_listings: pl.DataFrame) -> pl.DataFrame:
    """Quartiles and mean of all sold prices, one row per day from which they are different; `sold_on < as_of`."""
    rows = history_table(clean_listings, None)
    context.add_output_metadata(history_metadata(rows))
    return rows


@dg.asset(**table_options("category_statistics", "statistics"))
def category_statistics(context: dg.AssetExecutionContext, clean_listings: pl.DataFrame) -> pl.DataFrame:
    """Quartiles and mean of a category's sold prices, one row per day from which they are different."""
    rows = history_table(clean_listings, "category")
    context.add_output_metadata(history_metadata(rows))
    return rows


@dg.asset(**table_options("seller_statistics", "statistics"))
def seller_statistics(context: dg.AssetExecutionContext, clean_listings: pl.DataFrame) -> pl.DataFrame:
    """Quartiles and mean of a seller's sold prices, one row per day from which they are different."""
    rows = history_table(clean_listings, "seller_id")
    context.add_output_metadata(history_metadata(rows))
    return rows
