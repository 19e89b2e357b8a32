"""What sellers saw before: every suggestion of each day and model, and what a new champion changed."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import table_options
from vps_assets.assets.unchanged import made_before
from vps_assets.tables.schemas import aligned, conforming
from vps_assets.tables.suggestions import SUGGESTION_CHANGES, SUGGESTION_HISTORY
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import output_window
from vps_assets.warehouse.settings import Settings

KEY = ("listing_id", "listed_on", "suggested_on", "model_id")
CHANGES = """
with before as (
    select h.*, row_number() over (partition by h.listing_id order by h.suggested_at desc) as place
    from suggestion_history as h join price_suggestions as now
        on h.listing_id = now.listing_id and h.inputs = now.inputs
        and h.model_id <> now.model_id
)
select listing_id, now.listed_on, now.inputs, before.model_id as model_id_before, now.model_id,
    before.qualified as qualified_before, now.qualified, before.suggested_price as suggested_price_before,
    now.suggested_price, ln(now.suggested_price / before.suggested_price) as log_change,
    before.suggested_at as suggested_at_before, now.suggested_at
from before join price_suggestions as now using (listing_id) where place = 1 order by listing_id
"""
"""Of each open listing, its suggestion beside the last one by another model that priced by the same inputs."""


def with_suggestions(history: pl.DataFrame, suggestions: pl.DataFrame) -> pl.DataFrame:
    """The history with these suggestions, which are newer. Of one listing, day and model it keeps the newest, and what
    other days hold stays as it is.

    A suggestion from before words were read is by the photo.
    """
    new = suggestions.with_columns(suggested_on=pl.col("suggested_at").dt.date())
    rows = pl.concat([aligned(rows, SUGGESTION_HISTORY) for rows in (history, new)])
    rows = rows.with_columns(pl.col("inputs").fill_null("photo"))
    return conforming(rows.unique(KEY, keep="last", maintain_order=True).sort("suggested_at", *KEY), SUGGESTION_HISTORY)


def kept_history(warehouse: Warehouse, first: str, last: str) -> pl.DataFrame:
    """The history of these listing dates; empty before there is any."""
    rows = warehouse.read("suggestion_history", *output_window("suggestion_history", [first, last]))
    return aligned(rows, SUGGESTION_HISTORY)


def secure(warehouse: Warehouse, first: str, last: str) -> None:
    """Keep the suggestions of these dates that are about to be replaced, where a killed run has not yet.

    Otherwise what was said to sellers between that run and this one would be in no table any more. What waits for a
    blocking check, or failed it, was not published, and so not said.
    """
    said = made_before(warehouse, "price_suggestions", [first, last])
    if said.is_empty():
        return
    history = kept_history(warehouse, first, last)
    both = with_suggestions(history, said)
    if not both.equals(with_suggestions(history, said.clear())):
        warehouse.replace("suggestion_history", both, *output_window("suggestion_history", [first, last]), {})


@dg.asset(**table_options("suggestion_history", "suggestions"))
def suggestion_history(
    context: dg.AssetExecutionContext, settings: Settings, price_suggestions: pl.DataFrame
) -> pl.DataFrame:
    """Every suggestion that was made, also of listings that have sold since: one of each listing, day and model.

    Rows of earlier days never change. Partition: `listed_on`, a UTC day. Money: the warehouse's currency.
    """
    history = kept_history(settings.warehouse, context.partition_keys[0], context.partition_keys[-1])
    return with_suggestions(history, price_suggestions)


@dg.asset(**table_options("suggestion_changes", "suggestions") | {"deps": ["suggestion_history", "price_suggestions"]})
def suggestion_changes(context: dg.AssetExecutionContext, settings: Settings) -> pl.DataFrame:
    """What a new champion changed: each open listing's suggestion beside the last one by the model before.

    Key: `listing_id`. Empty while the first champion of each kind of inputs is in force, and before anything is priced.
    """
    tables = ("suggestion_history", "price_suggestions")
    if any(settings.warehouse.read(name, "false") is None for name in tables):
        return pl.DataFrame()
    with settings.warehouse.connect(read_only=True) as connection:
        rows = conforming(pl.DataFrame(connection.execute(CHANGES).to_arrow_table()), SUGGESTION_CHANGES)
    moved = rows["log_change"].drop_nulls()
    figures = {
        "median of |log change|": moved.abs().median(),
        "gained a price": gained(rows),
        "lost theirs": lost(rows),
    }
    context.add_output_metadata({name: value for name, value in figures.items() if value is not None})
    return rows


def gained(changes: pl.DataFrame) -> int:
    """Listings that have a price and had none."""
    return changes.filter(~pl.col("qualified_before"), pl.col("qualified")).height


def lost(changes: pl.DataFrame) -> int:
    """Listings that had a price and have none."""
    return changes.filter("qualified_before", ~pl.col("qualified")).height
