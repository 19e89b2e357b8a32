"""The analysts' published copy of the warehouse, read at any time."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse, read_table
from vps_assets.warehouse.publication import publication_of


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
    with publication_of(Warehouse(home)).open() as connection:
        yield Analytics(connection)
