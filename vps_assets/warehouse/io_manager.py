"""The resources that Dagster hands to assets, and the IO manager between frames and tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from vps_assets.home import Home
from vps_assets.lineage.graph import (
    LINEAGE,
    WHOLE,
    Fingerprints,
    fingerprint,
    landed_fingerprints,
    recorded_as,
)
from vps_assets.sweeping import sweep
from vps_assets.tables.schemas import TABLES, aligned, conforming
from vps_assets.warehouse.database import Warehouse
from vps_ml.artefacts import identity
from vps_ml.recipes import Recipe, recipe_named


class Settings(dg.ConfigurableResource):
    """The data directory and the recipe, as the environment names them."""

    home: str
    recipe_name: str
    weights: str = ""
    """State file that replaces the recipe's start of the backbones; empty for none."""

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_named(self.recipe_name, self.weights or None)

    @property
    def at(self) -> Home:
        return Home(Path(self.home))

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.at)


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Frames in and out of the warehouse, partition-aware.

    A frame replaces its partitions' rows in one transaction, by column name, after it has been held to its
    schema; reading opens the file read-only. When the run's resources are torn down the analysts' copy is
    renewed, whichever way the run was started.
    """

    settings: Settings
    _made_from: dict[str, Fingerprints] = PrivateAttr(default_factory=dict)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseIOManager"]:
        sweep(self.settings.at)
        try:
            yield self
        finally:
            self.settings.warehouse.publish()

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The upstream table's rows: of the same dates for a daily asset, else all; empty where there is none."""
        asset = context.asset_key.to_user_string()
        where, parameters = input_window(context, asset)
        rows, made = self.settings.warehouse.read_with_fingerprints(asset, where, parameters)
        run_id = context.step_context.run_id
        self._made_from.setdefault(run_id, {}).update(made)
        return aligned(pl.DataFrame() if rows is None else rows, TABLES[asset])

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Replace the partitions' rows.

        Raises:
            ValueError: the frame breaks its schema, or has rows of other partitions; nothing is written.
        """
        asset = context.asset_key.to_user_string()
        rows = conforming(obj, TABLES[asset])
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else [WHOLE]
        where, parameters = output_window(asset, partitions)
        column = partition_column(asset)
        if column and not set(rows[column].cast(pl.String).unique()) <= set(partitions):
            raise ValueError(f"{asset} has rows outside its partitions {partitions[0]} to {partitions[-1]}")
        made = self.fingerprints(asset, rows, partitions, context.run_id)
        self.settings.warehouse.replace(asset, rows, where, parameters, made)
        if not context.has_asset_partitions:
            context.add_output_metadata({"dagster/row_count": rows.height})
        elif len(partitions) <= MOST_COUNTED and column:
            counts = dict(rows.group_by(pl.col(column).cast(pl.String)).len().iter_rows())
            for partition in partitions:
                told = {"dagster/partition_row_count": counts.get(partition, 0)}
                context.step_context.add_asset_metadata(told, context.asset_key, partition)
        else:
            context.add_output_metadata({"rows of this run": rows.height})

    def fingerprints(self, asset: str, rows: pl.DataFrame, partitions: list[str], run_id: str) -> dict[str, str | None]:
        """What to record of the partitions: made from the parents as this run read them, else as they are now."""
        recipe, node = self.settings.recipe, LINEAGE[asset]
        if asset == "raw_listings":
            landed = landed_fingerprints(rows)
            return {partition: landed.get(partition) for partition in partitions}
        warehouse = self.settings.warehouse
        made_from = warehouse.fingerprints() | self._made_from.get(run_id, {})
        made = {partition: fingerprint(asset, partition, recipe, made_from) for partition in partitions}
        if not node.content and not node.kept_as:
            return made
        sales, column = warehouse.good_sales(), partition_column(asset)
        of = {p: rows.filter(pl.col(column).cast(pl.String) == p) if column else rows for p in partitions}
        content = {p: identity(of[p].select(node.content or pl.all()).rows()) for p in partitions}
        return {p: basis and recorded_as(basis, sales, content[p]) for p, basis in made.items()}


MOST_COUNTED = 100
"""Partitions of one run that get their own row count; Dagster checks each against all, so many would be slow."""
PARTITION_COLUMNS = {
    "day": "listed_on",
    "task": "task",
    "coverage_target": "constraint_value",
    "error_tolerance": "constraint_value",
    "none": None,
}


def partition_column(asset: str) -> str | None:
    return PARTITION_COLUMNS[LINEAGE[asset].partitions]


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
