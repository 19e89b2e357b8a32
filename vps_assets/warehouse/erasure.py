"""Which rows of each table are a seller's, and their deletion."""

from dataclasses import dataclass
from datetime import datetime

import duckdb

from vps_assets.warehouse.catalogue import table_exists
from vps_assets.warehouse.database import Warehouse
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


SAID = ("price_suggestions", "suggestion_history", "suggestion_changes")
"""Tables of what was said to sellers: from the history nothing is made again, as all else is of other sellers' rows."""


@dataclass(frozen=True)
class Said:
    """What was said of a seller's listings, also of those that are another's by now."""

    listings: list[str]
    before: datetime
    """When the erasure began: what is said later is of whoever has them now."""


def erase_rows(warehouse: Warehouse, seller: str, gone: list[str], said: Said | None = None) -> None:
    """Delete the seller's rows from the tables, in one transaction.

    The dates of `raw_listings` that lose rows are out of date from then on, and so is everything made from them. A run
    makes them again, also where an earlier row of a listing, of another seller, comes into force again.

    Args:
        warehouse: the working tables.
        seller: whose rows go.
        gone: listings of the seller that no landed row names any more.
        said: what was said of all of the seller's listings.
    """
    if warehouse.exists():
        warehouse.transact(lambda connection: delete(connection, seller, gone, said), "raw_listings")


def erase_said(warehouse: Warehouse, said: Said) -> None:
    """Delete what was said again: a run that was at work during the erasure may have kept it in the history."""

    if warehouse.exists():
        warehouse.transact(lambda connection: delete_all_said(connection, said), "suggestion_history")


def delete_all_said(connection: duckdb.DuckDBPyConnection, said: Said) -> None:
    """Delete what was said, within the caller's transaction."""
    for table in SAID:
        if table_exists(connection, table):
            delete_said(connection, table, said)


def delete_said(connection: duckdb.DuckDBPyConnection, table: str, said: Said) -> None:
    """Delete what was said from a table, or a copy of it."""
    where = "list_contains($1, listing_id) and suggested_at < $2"
    connection.execute(f"delete from {table} where {where}", [said.listings, said.before])  # noqa: S608


def delete(connection: duckdb.DuckDBPyConnection, seller: str, gone: list[str], said: Said | None = None) -> None:
    """Delete the seller's rows, within the caller's transaction."""
    if said is not None:
        delete_all_said(connection, said)
    for table, where in OF_A_SELLER.items():
        if not table_exists(connection, table):
            continue
        if table == "raw_listings":
            days = f"select distinct listed_on::text from {table} where {where}"  # noqa: S608
            forget(connection, table, [day for (day,) in connection.execute(days, [seller, gone]).fetchall()])
        connection.execute(f"delete from {table} where {where}", [seller, gone])  # noqa: S608
