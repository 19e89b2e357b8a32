"""Which rows of each table are a seller's, and their deletion."""

import duckdb

from vps_assets.warehouse.database import Warehouse, table_exists
from vps_assets.warehouse.records import forget

OF_A_SELLER = {
    "raw_listings": "seller_id = $1 or list_contains($2, listing_id)",
    "clean_listings": "seller_id = $1 or list_contains($2, listing_id)",
    "quarantined_listings": "trim(json_extract_string(row, '$.seller_id')) = $1 or list_contains($2, listing_id)",
    "seller_statistics": "seller_id = $1 or list_contains($2, '')",
    "state.seller_statistics": "key = $1 or list_contains($2, '')",
    "image_embeddings": "listing_id = $1 or list_contains($2, listing_id)",
    "text_embeddings": "listing_id = $1 or list_contains($2, listing_id)",
    "evaluation_predictions": "listing_id = $1 or list_contains($2, listing_id)",
    "price_suggestions": "listing_id = $1 or list_contains($2, listing_id)",
    "suggestion_history": "listing_id = $1 or list_contains($2, listing_id)",
    "suggestion_changes": "listing_id = $1 or list_contains($2, listing_id)",
    "suggestion_comparables": "$1 is null or list_contains($2, listing_id) or list_contains($2, comparable_id)",
    "comparable_items": "$1 is not null or list_contains($2, '')",  # what it names is deleted
}
"""Which rows of each table are a seller's: SQL with the seller's id, $1, and the listings', $2."""


def erase_rows(warehouse: Warehouse, seller: str, gone: list[str]) -> None:
    """Delete the seller's rows from the tables, in one transaction.

    The dates of `raw_listings` that lose rows are out of date from then on, and so is everything made from them. A run
    makes them again, also where an earlier row of a listing, of another seller, comes into force again.

    Args:
        warehouse: the working tables.
        seller: whose rows go.
        gone: listings of the seller that no landed row names any more.
    """
    if warehouse.exists():
        warehouse.transact(lambda connection: delete(connection, seller, gone), "raw_listings")


def erase_history(warehouse: Warehouse, listings: list[str]) -> None:
    """Delete what was suggested for these listings, also for those that are another seller's by now.

    Unlike all else that was made of them it is not made again.
    """
    if (rows := warehouse.read("suggestion_history", "list_contains(?, listing_id)", [listings])) is None:
        return
    if rows.height:
        warehouse.replace("suggestion_history", rows.clear(), "list_contains(?, listing_id)", [listings], {})


def delete(connection: duckdb.DuckDBPyConnection, seller: str, gone: list[str]) -> None:
    """Delete the seller's rows, within the caller's transaction."""
    for table, where in OF_A_SELLER.items():
        if not table_exists(connection, table):
            continue
        if table == "raw_listings":
            days = f"select distinct listed_on::text from {table} where {where}"  # noqa: S608
            forget(connection, table, [day for (day,) in connection.execute(days, [seller, gone]).fetchall()])
        connection.execute(f"delete from {table} where {where}", [seller, gone])  # noqa: S608
