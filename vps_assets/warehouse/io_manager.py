"""The IO manager between frames and the warehouse's tables."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from vps_assets import interruption
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Fingerprints, Records, basis_of, landed_fingerprints
from vps_assets.lineage.graph import LINEAGE
from vps_assets.sweeping import sweep
from vps_assets.tables.column_lineage import column_lineage
from vps_assets.tables.counts import counted
from vps_assets.tables.partitions import PARTITIONINGS, WHOLE
from vps_assets.tables.schemas import TABLES, aligned, conforming
from vps_assets.warehouse import presence
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.settings import Settings
from vps_assets.warehouse.unchecked import Checks, Passed
from vps_ml.atomic import temporary_name
from vps_ml.cards import identity
from vps_ml.processes import be_seen, here_and_now

READ = "read"
"""Folder among a run's op outputs: what it has read of which table."""
PROCESS_TAG = "vps/process"
"""Tag of a run: the process that executes it, and its machine (`vps_ml.processes`)."""
COLUMNS = "columns"
"""Metadata of an input: the columns that are read of its table, where that is not all of them."""
MOST_COUNTED = 100
"""Partitions of one run that get figures of their own; Dagster checks each against all, so many would be slow."""


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Frames in and out of the warehouse, partition-aware.

    A frame replaces its partitions' rows in one transaction, by column name, after it has been held to its
    schema; reading opens the file read-only. When the run's resources are torn down the tables that passed their
    blocking checks are published to the analysts' copy, however the run was started.
    """

    settings: Settings

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseIOManager"]:
        sweep(self.settings.home)
        instance, run_id = context.instance, context.run.run_id if context.run else None
        if instance is not None and run_id is not None:
            note_process(instance, run_id)
        try:
            yield self
        finally:
            if instance is not None and run_id is not None:
                self.settings.warehouse.note_passed(passed_checks(instance, run_id))
            publication_of(self.settings.warehouse).publish()

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The upstream table's rows: of the same dates for a daily asset, else all; empty if there is no table.

        With the columns that the input names, or all (`COLUMNS`).
        """
        interruption.heed()
        asset = context.asset_key.to_user_string()
        where, parameters = input_window(context, asset)
        columns = (context.definition_metadata or {}).get(COLUMNS) or list(TABLES[asset].columns)
        rows, records = self.settings.warehouse.read_with_records(asset, where, parameters, columns)
        note_read(self.settings.home, context.step_context.run_id, records)
        return aligned(rows, TABLES[asset]).select(columns)

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Replace the partitions' rows.

        Raises:
            ValueError: the frame breaks its schema, or has rows of other partitions; nothing is written.
        """
        interruption.heed()
        asset = context.asset_key.to_user_string()
        rows = conforming(obj, TABLES[asset])
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else [WHOLE]
        where, parameters = output_window(asset, partitions)
        column = partition_column(asset)
        if column and not set(rows[column].cast(pl.String).unique()) <= set(partitions):
            raise ValueError(f"{asset} has rows outside its partitions {partitions[0]} to {partitions[-1]}")
        made_from = read_by(self.settings.home, lineage_of(context.step_context.instance, context.run_id))
        made = self.fingerprints(asset, rows, partitions, made_from)
        checks = Checks(context.run_id, blocking_checks(context.step_context.job_def, context.asset_key))
        self.settings.warehouse.replace(asset, rows, where, parameters, made, checks)
        if not context.has_asset_partitions:
            context.add_output_metadata({"dagster/row_count": rows.height, **columns_from(asset)})
        elif len(partitions) <= MOST_COUNTED and column:
            of = {str(key): mine for (key,), mine in rows.partition_by(column, as_dict=True).items()}
            for partition in partitions:
                mine = of.get(partition, rows.clear())
                figures: dict[str, Any] = {"dagster/partition_row_count": mine.height, **counted(asset, mine)}
                figures |= columns_from(asset) if partition == partitions[-1] else {}  # the catalogue reads the newest
                context.step_context.add_asset_metadata(figures, context.asset_key, partition)
        else:
            totals = {f"{name}, whole run": value for name, value in counted(asset, rows).items()}
            context.add_output_metadata({"rows of this run": rows.height, **totals, **columns_from(asset)})

    def fingerprints(
        self, asset: str, rows: pl.DataFrame, partitions: list[str], read: Records
    ) -> dict[str, Fingerprint | None]:
        """What to record of the partitions: made from the parents as this run read them, else as they are now."""
        if asset == "raw_listings":
            landed = landed_fingerprints(rows)
            return {partition: landed.get(partition) for partition in partitions}
        warehouse, recipe = self.settings.warehouse, self.settings.recipe
        made_from = warehouse.records().updated(read)
        bases = {partition: basis_of(asset, partition, recipe, made_from) for partition in partitions}
        node = LINEAGE[asset]
        if not node.content and not node.kept_as:
            return {p: Fingerprint(basis) if basis else None for p, basis in bases.items()}
        sales, column = warehouse.good_sales(), partition_column(asset)
        of = {p: rows.filter(pl.col(column).cast(pl.String) == p) if column else rows for p in partitions}
        content = {p: content_of(asset, of[p]) for p in partitions}
        return {p: Fingerprint(basis, sales, content[p]) if basis else None for p, basis in bases.items()}


def columns_from(asset: str) -> dict[str, dg.TableColumnLineage]:
    """Metadata: which columns the table's columns are made from."""
    found = {
        column: [dg.TableColumnDep(dg.AssetKey(table), name) for table, name in sources]
        for column, sources in column_lineage(asset).items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(found)} if found else {}


def note_read(home: Home, run_id: str, records: Records) -> None:
    """Note which fingerprints a run has read of each table, beside what its ops pass to each other.

    The step that writes may be another process, or of a run that executes a failed one again from where it failed. Of a
    table that several steps read it is the first reading that counts: an older one makes what is out of date be made
    again, and a newer one would hide that it is.
    """
    folder = home.op_outputs / run_id / READ
    folder.mkdir(parents=True, exist_ok=True)
    for asset, made in records.made.items():
        if (folder / f"{asset}.json").exists():
            continue
        known = {partition: astuple(fingerprint) for partition, fingerprint in made.items()}
        temporary = folder / temporary_name(asset)  # not written through: no run outlives a power failure
        temporary.write_text(json.dumps({"made": known, "as_of": records.as_of.get(asset)}))
        temporary.replace(folder / f"{asset}.json")


def read_by(home: Home, run_ids: Sequence[str]) -> Records:
    """What these runs have read; of a table that several have, what the last one did."""
    made: Fingerprints = {}
    as_of: dict[str, dict[str, str]] = {}
    for run_id in run_ids:
        for file in sorted((home.op_outputs / run_id / READ).glob("[!.]*.json")):
            noted = json.loads(file.read_text())
            made[file.stem] = {partition: Fingerprint(*values) for partition, values in noted["made"].items()}
            as_of.pop(file.stem, None)
            if noted["as_of"] is not None:
                as_of[file.stem] = noted["as_of"]
    return Records(made, as_of)


def lineage_of(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The run, after those that it executes again from where they failed, the first one first."""
    runs: list[str] = []
    following: str | None = run_id
    while following is not None and following not in runs:
        runs.insert(0, following)
        run = instance.get_run_by_id(following)
        following = run.parent_run_id if run is not None else None
    return runs


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Note that this process executes the run, so that no other machine takes it for dead."""
    presence.be_seen(instance)
    be_seen(Home(Path(instance.root_directory).parent).processes)
    instance.add_run_tags(run_id, {PROCESS_TAG: here_and_now()})


def passed_checks(instance: dg.DagsterInstance, run_id: str) -> list[Passed]:
    """The run's checks that have passed."""
    kinds = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_START}
    began: dict[str | None, float] = {}
    passed = []
    for entry in instance.all_logs(run_id, of_type=kinds):
        assert entry.dagster_event is not None, "these are events"
        if entry.dagster_event.is_step_start:
            began[entry.step_key] = entry.timestamp
        elif (check := entry.dagster_event.asset_check_evaluation_data).passed:
            passed.append(Passed(check.asset_key.to_user_string(), check.check_name, run_id, began[entry.step_key]))
    return passed


def blocking_checks(job: dg.JobDefinition, asset: dg.AssetKey) -> tuple[str, ...]:
    """Names of the blocking checks of an asset of a job."""
    graph = job.asset_layer.asset_graph
    keys = graph.get_check_keys_for_assets({asset})
    return tuple(sorted(key.name for key in keys if graph.get_check_spec(key).blocking))


def content_of(asset: str, rows: pl.DataFrame) -> str:
    """Hash of what the asset's children depend on: its `content` columns, each different row once; else all columns."""
    return identity(rows.select(LINEAGE[asset].content or pl.all()).unique(maintain_order=True).rows())


def partition_column(asset: str) -> str | None:
    """The column of the asset's table that has the partition; None for an asset without partitions."""
    return PARTITIONINGS[LINEAGE[asset].partitions].column


def output_window(asset: str, partitions: list[str]) -> tuple[str, list]:
    """The rows that a write replaces: (SQL condition, its parameters)."""
    column = partition_column(asset)
    if column is None:
        return "true", []
    if LINEAGE[asset].partitions == "day":
        return f"{column} between cast(? as date) and cast(? as date)", [partitions[0], partitions[-1]]
    return f"list_contains(?, cast({column} as text))", [partitions]


def input_window(context: dg.InputContext, asset: str) -> tuple[str, list]:
    """The rows that a daily asset reads of a daily parent; all of any other."""
    if not context.has_asset_partitions or LINEAGE[asset].partitions != "day":
        return "true", []
    keys = context.asset_partition_key_range
    return "listed_on between cast(? as date) and cast(? as date)", [keys.start, keys.end]
