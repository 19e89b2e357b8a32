"""The analysts' published copy of the warehouse: written after runs, read at any time."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse, log_of, quoted_path, read_table


def publish(warehouse: Warehouse) -> bool:
    """Renew the analysts' copy if the warehouse is newer; whether it was.

    A copy of all tables is written under a temporary name and renamed over the old one, so readers of either
    are never in the way. The copy carries the warehouse's modification time, which tells whether it is current;
    a lock file keeps two publishers from overtaking each other.
    """
    home = warehouse.home
    if not home.warehouse.exists():
        return False
    with locked(home.path / ".publish.lock"):
        for leftover in home.path.glob(".analytics.*"):
            leftover.unlink()
        if current(home):
            return False
        if log_of(home).exists():  # of a writer that was killed, or is at work
            with warehouse.connect(read_only=False) as connection:
                connection.execute("checkpoint")
        temporary = home.path / f".analytics.{uuid.uuid4().hex[:8]}.duckdb"
        with duckdb.connect() as connection:
            source = quoted_path(home.warehouse)
            warehouse.waiting(lambda: connection.execute(f"attach {source} as warehouse (read_only)"))
            stamp = home.warehouse.stat().st_mtime_ns
            connection.execute(f"attach {quoted_path(temporary)} as published")
            connection.execute("copy from database warehouse to published")
            connection.execute("detach published")
        os.utime(temporary, ns=(stamp, stamp))
        temporary.replace(home.analytics)
        return True


def current(home: Home) -> bool:
    """Whether the published copy is of the warehouse as it is now."""
    if not home.analytics.exists() or log_of(home).exists():
        return False
    return home.analytics.stat().st_mtime_ns == home.warehouse.stat().st_mtime_ns


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system frees it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Analytics:
    """An open published copy: all its tables as of one publication."""

    connection: duckdb.DuckDBPyConnection

    def table(self, name: str, where: str = "true", columns: Sequence[str] = ()) -> pl.DataFrame:
        """Rows of a table, with all columns of its schema unless some are named; empty if it was never made."""
        rows = read_table(self.connection, name, where, (), columns)
        if columns and rows is not None:
            return rows
        empty = aligned(pl.DataFrame(), TABLES[name])
        return (empty if rows is None else aligned(rows, TABLES[name])).select(columns or pl.all())


@contextlib.contextmanager
def open_analytics(home: Home) -> Iterator[Analytics]:
    """The published copy, which must exist; no run waits for the reader, and the reader waits for none."""
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield Analytics(connection)
