"""What all assets have in common, and how one is made of a chain of ops."""

import warnings
from collections.abc import Mapping, Sequence
from inspect import unwrap
from types import MappingProxyType
from typing import Any

import dagster as dg
import pandera.polars as pa

from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.internals import written
from vps_assets.tables.partitions import EARLIEST_DAY, PARTITIONINGS
from vps_assets.tables.schemas import TABLES
from vps_assets.warehouse.io_manager import COLUMNS

# backfill_policy is beta in 1.13.27, which is pinned; tests hold what is relied on.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

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
TABLE_KINDS = {"duckdb", "polars"}
NETWORK_KINDS = {"pytorch", "duckdb"}


def daily_from(first: Any) -> dg.DailyPartitionsDefinition:
    """Listing dates, UTC, from the first (a date) to today: its listings are still coming in."""
    return dg.DailyPartitionsDefinition(first.isoformat(), timezone="UTC", end_offset=1)


PARTITIONS: dict[str, dg.PartitionsDefinition | None] = {
    name: dg.StaticPartitionsDefinition(list(partitioning.keys or ())) for name, partitioning in PARTITIONINGS.items()
} | {"day": daily_from(EARLIEST_DAY), "none": None}
"""As Dagster takes them. `definitions` begins the listing dates with the first that has landed."""


def column_schema(schema: pa.DataFrameSchema) -> dg.TableSchema:
    """The schema as Dagster shows it."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                str(spec.dtype),
                description=spec.description,
                constraints=dg.TableColumnConstraints(nullable=spec.nullable, unique=spec.unique),
            )
            for name, spec in schema.columns.items()
        ]
    )


def partition_mappings(asset: str) -> dict[str, dg.PartitionMapping]:
    """The parents that are read whole: a daily asset reads a daily parent's same days, any other asset all of it."""
    node = LINEAGE[asset]
    return {
        parent: dg.AllPartitionMapping()
        for parent in node.parents
        if LINEAGE[parent].partitions != "none" and node.partitions not in ("none", LINEAGE[parent].partitions)
    }


def backfill_policy(asset: str) -> dg.BackfillPolicy | None:
    """A backfill of many partitions is one run."""
    return dg.BackfillPolicy.single_run() if PARTITIONS[LINEAGE[asset].partitions] else None


def table_metadata(asset: str) -> dict[str, Any]:
    return {"dagster/column_schema": column_schema(TABLES[asset]), "dagster/table_name": f"main.{asset}"}


def code_of(ops: Sequence[dg.OpDefinition]) -> dg.CodeReferencesMetadataValue:
    """Where the ops of a chain are written, as `with_source_code_references` has it of other assets."""
    codes = [unwrap(written(op)).__code__ for op in ops]
    places: list[Any] = [
        dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno, label=code.co_name)
        for code in codes
    ]
    return dg.CodeReferencesMetadataValue(code_references=places)


def only(*columns: str) -> dict[str, Any]:
    """Metadata of an input of which these columns are read, and no others; without any, all are."""
    return {COLUMNS: list(columns)}


def table_options(asset: str, group: str, reads: Mapping[str, Sequence[str]] = MappingProxyType({})) -> dict[str, Any]:
    """Arguments of `@asset` for a table that one function makes.

    Args:
        asset: its name.
        group: of assets.
        reads: parent -> the columns that are read of it; of the others, all are.
    """
    mappings = partition_mappings(asset)
    return {
        "name": asset,
        "ins": {
            parent: dg.AssetIn(partition_mapping=mappings.get(parent), metadata=only(*reads.get(parent, ())))
            for parent in {**mappings, **reads}
        },
        "partitions_def": PARTITIONS[LINEAGE[asset].partitions],
        "backfill_policy": backfill_policy(asset),
        "code_version": LINEAGE[asset].code_version,
        "group_name": group,
        "owners": [OWNERS[group]],
        "kinds": TABLE_KINDS,
        "metadata": table_metadata(asset),
        "io_manager_key": WAREHOUSE,
        "pool": WRITER,
    }


def op_chain(
    asset: str, group: str, description: str, ops: Sequence[dg.OpDefinition], kinds: set[str] = NETWORK_KINDS
) -> dg.AssetsDefinition:
    """An asset that a chain of ops makes: each takes the result of the op before it, and any parents of the asset.

    An input that is named as a parent is that parent's table; the one other input of an op is the result before it.
    """
    parents = LINEAGE[asset].parents
    dependencies = {}
    for before, op in zip(ops, ops[1:], strict=False):
        (chained,) = [name for name in op.input_dict if name not in parents]
        dependencies[op.name] = {chained: dg.DependencyDefinition(before.name)}
    graph = dg.GraphDefinition(
        name=asset,
        description=description,
        node_defs=ops,
        dependencies=dependencies,
        input_mappings=[
            dg.InputMapping(graph_input_name=parent, mapped_node_name=op.name, mapped_node_input_name=parent)
            for op in ops
            for parent in parents
            if parent in op.input_dict
        ],
        output_mappings=[
            dg.OutputMapping(
                graph_output_name="result", mapped_node_name=ops[-1].name, mapped_node_output_name="result"
            )
        ],
    )
    return dg.AssetsDefinition.from_graph(
        graph,
        keys_by_input_name={parent: dg.AssetKey(parent) for parent in parents},
        keys_by_output_name={"result": dg.AssetKey(asset)},
        partitions_def=PARTITIONS[LINEAGE[asset].partitions],
        partition_mappings=partition_mappings(asset) or None,
        backfill_policy=backfill_policy(asset),
        group_name=group,
        descriptions_by_output_name={"result": description},
        metadata_by_output_name={"result": table_metadata(asset) | {"dagster/code_references": code_of(ops)}},
        tags_by_output_name={"result": {f"dagster/kind/{kind}": "" for kind in kinds}},
        owners_by_output_name={"result": [OWNERS[group]]},
        code_versions_by_output_name={"result": LINEAGE[asset].code_version},
    )
