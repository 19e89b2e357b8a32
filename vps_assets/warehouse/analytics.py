"""The analysts' published copy of the warehouse, read at any time."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import read_table
from vps_assets.warehouse.lake import CATALOGUE, Lake


@dataclass(frozen=True)
class Analytics:
    """An open published copy: all its tables as of one publication."""

    connection: duckdb.DuckDBPyConnection

    def table(self, name: str, where: str = "true", columns: Sequence[str] = ()) -> pl.DataFrame:
        """Rows of a table, with all columns of its schema unless some are named; empty if it was never made."""
        rows = read_table(self.connection, name, where, (), columns)
        return aligned(rows, TABLES[name]).select(columns or pl.all())


@contextlib.contextmanager
def open_analytics(home: Home) -> Iterator[Analytics]:
    """What is published, which must exist; no run waits for the reader, and the reader waits for none."""
    if home.lake:
        with Lake(home).connect(read_only=True) as connection:
            connection.execute(f"use {CATALOGUE}.published")
            yield Analytics(connection)
        return
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield Analytics(connection)
