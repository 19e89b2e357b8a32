"""What items sold for before a day: over all, by category, by seller."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import table_options
from vps_assets.lineage.graph import LINEAGE
from vps_assets.warehouse.io_manager import Settings
from vps_assets.warehouse.statistics_state import KEYS, correct_history
from vps_ml.features.scaling import HISTORIES, MOMENTS


def with_statistics(listings: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Each listing's fifteen statistics, as of its own listing date (names in `vps_ml.features.scaling`).

    A row of a table is of `sold_on < as_of` and is in force from `as_of`, so the newest with
    `as_of <= listed_on` sees no sale of that day or later: not the listing's own either. A group without
    history falls back to the next wider one; its count stays zero.
    """
    joined = listings.with_row_index("_order").sort("listed_on")
    for history in HISTORIES:
        key = KEYS[f"{history}_statistics"]
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


def corrected(asset: str, settings: Settings) -> dg.MaterializeResult:
    """Bring the table up to date; what was done is the materialisation's metadata."""
    done = correct_history(settings.warehouse, asset, settings.recipe)
    told = {"changed listing dates": done.listing_dates, "corrected groups": done.groups, "rows written": done.rows}
    how = "all, anew" if done.rebuilt else f"sales of {done.since} and later" if done.since else "nothing"
    return dg.MaterializeResult(metadata={**told, "corrected": how})


def statistics_options(asset: str) -> dict:
    """The asset's options: it depends on its parents without loading them, and writes by itself."""
    return table_options(asset, "statistics") | {"deps": list(LINEAGE[asset].parents)}


@dg.asset(**statistics_options("marketplace_statistics"))
def marketplace_statistics(settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of all sold prices, one row per day from which they are different; `sold_on < as_of`.

    Only what changed sales touch is computed; materialised by name with nothing changed, it is computed anew.
    """
    return corrected("marketplace_statistics", settings)


@dg.asset(**statistics_options("category_statistics"))
def category_statistics(settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of a category's sold prices, one row per day from which they are different.

    Only what changed sales touch is computed; materialised by name with nothing changed, it is computed anew.
    """
    return corrected("category_statistics", settings)


@dg.asset(**statistics_options("seller_statistics"))
def seller_statistics(settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of a seller's sold prices, one row per day from which they are different.

    Only what changed sales touch is computed; materialised by name with nothing changed, it is computed anew.
    """
    return corrected("seller_statistics", settings)
