"""Sold items that are like an open listing, shown beside its price: evidence for the seller, not the price's reason."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import champions_by_inputs, served_by_inputs
from vps_assets.assets.features import open_features, sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.assets.unchanged import earlier
from vps_assets.warehouse.settings import Settings
from vps_ml.artefacts import id_in_path
from vps_ml.ops.comparables import (
    ComparablesJob,
    SoldItemsJob,
    find_comparables,
    keep_sold_items,
    measure_comparables,
)


@dg.op
def sold_items_job(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> SoldItemsJob:
    """All sold listings, and the models that price."""
    return SoldItemsJob(rows, served_by_inputs(champion_model), settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_sold_items(context: dg.OpExecutionContext, kept: pl.DataFrame) -> pl.DataFrame:
    """Write where they are."""
    for row in kept.to_dicts():
        context.add_output_metadata({f"sold items ({row['inputs']})": row["items"]})
    return kept


comparable_items = op_chain(
    "comparable_items",
    "suggestions",
    """The sold items as each model that prices sees them: what comparables are searched in.

Key: inputs. Their features, prices and photos' hashes are in the artefact that `path` names.""",
    [sold_features, sold_items_job, keep_sold_items, record_sold_items],
)


@dg.op
def comparables_job(
    context: dg.OpExecutionContext,
    settings: Settings,
    rows: pl.DataFrame,
    price_suggestions: pl.DataFrame,
    comparable_items: pl.DataFrame,
) -> ComparablesJob:
    """The dates' open listings that have a price, by the model that gave it, and what stood beside them before."""
    kept = comparable_items.select("model_id", "path").iter_rows()
    items = {model_id: id_in_path(path) for model_id, path in kept}
    priced = price_suggestions.filter("qualified", pl.col("model_id").is_in(list(items)))
    return ComparablesJob(
        rows.join(priced.select("listing_id", "model_id"), on="listing_id", maintain_order="left"),
        items,
        settings.artefacts,
        **earlier(settings, "suggestion_comparables", context.partition_keys),
    )


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_comparables(found: pl.DataFrame) -> pl.DataFrame:
    """Write them."""
    return found


suggestion_comparables = op_chain(
    "suggestion_comparables",
    "suggestions",
    """The five sold items most like each open listing that has a price: of its category, sold before it was listed, one
of each physical item, never itself.

Key: `listing_id` and `rank`. Partition: `listed_on`, a UTC day. Money: the warehouse's currency.""",
    [open_features, comparables_job, find_comparables, record_comparables],
)


@dg.op
def comparable_report_job(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> SoldItemsJob:
    """All sold listings, and the champions as they were judged: a refit has learnt from the test listings."""
    champions = {inputs: row["model_id"][0] for inputs, row in champions_by_inputs(champion_model).items()}
    return SoldItemsJob(rows, champions, settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_comparable_reports(context: dg.OpExecutionContext, measured: pl.DataFrame) -> pl.DataFrame:
    """Write the figures."""
    for row in measured.to_dicts():
        context.add_output_metadata({f"MALE of comparables ({row['inputs']})": row.get("male_of_comparables")})
    return measured


comparable_reports = op_chain(
    "comparable_reports",
    "evaluation",
    """What comparables say of a price: the error of their median beside the champion's and the category median's.

On the champion's test listings that it prices, each with what was sold before it was listed. Key: inputs.""",
    [sold_features, comparable_report_job, measure_comparables, record_comparable_reports],
)
