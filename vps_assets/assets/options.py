"""What all assets have in common."""

import warnings
from typing import Any

import dagster as dg

from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.partitions import COVERAGE_TARGET_PARTITIONS, ERROR_TOLERANCE_PARTITIONS, LISTING_DATES, TASKS
from vps_assets.tables.schemas import TABLES, column_schema

# backfill_policy is beta in 1.13.27, which is pinned; tests hold what is relied on.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

PARTITIONS = {
    "day": LISTING_DATES,
    "task": TASKS,
    "coverage_target": COVERAGE_TARGET_PARTITIONS,
    "error_tolerance": ERROR_TOLERANCE_PARTITIONS,
    "none": None,
}
OWNERS = {
    "listings": "team:data-engineering",
    "statistics": "team:data-engineering",
    "features": "team:machine-learning",
    "models": "team:machine-learning",
    "evaluation": "team:machine-learning",
    "suggestions": "team:pricing",
}
WAREHOUSE = "warehouse_io"
WRITER = "duckdb_writer"


def inputs(asset: str) -> dict[str, dg.AssetIn]:
    """The parents: a daily asset reads a daily parent's same days, anything else reads all of its parent."""
    node = LINEAGE[asset]
    return {
        parent: dg.AssetIn(partition_mapping=dg.AllPartitionMapping())
        for parent in node.parents
        if LINEAGE[parent].partitions != "none" and node.partitions not in ("none", LINEAGE[parent].partitions)
    }


def graph_options(asset: str, group: str, kinds: set[str]) -> dict[str, Any]:
    """Arguments of `@graph_asset`: the partitions and version that the lineage says, schema, group, owner."""
    node = LINEAGE[asset]
    partitions_def = PARTITIONS[node.partitions]
    return {
        "name": asset,
        "ins": inputs(asset),
        "partitions_def": partitions_def,
        "backfill_policy": dg.BackfillPolicy.single_run() if partitions_def else None,
        "code_version": node.code_version,
        "group_name": group,
        "owners": [OWNERS[group]],
        "kinds": kinds,
        "metadata": {"dagster/column_schema": column_schema(TABLES[asset]), "dagster/table_name": f"main.{asset}"},
    }


def table_options(asset: str, group: str, kinds: set[str] | None = None) -> dict[str, Any]:
    """Arguments of `@asset` for a table that is written through the warehouse."""
    return {
        **graph_options(asset, group, kinds or {"duckdb", "polars"}),
        "io_manager_key": WAREHOUSE,
        "pool": WRITER,
    }
