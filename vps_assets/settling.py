"""What every DuckDB connection of ours is told, whatever it is to."""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import duckdb

from vps_ml.atomic import temporary_name


def settle(connection: duckdb.DuckDBPyConnection, folder: Path, database: str = "") -> None:
    """Let a connection tell times in UTC and draw no progress bars, and its database spill into a folder of its own.

    That is hidden, and names this process. It is made when the database first spills, removed when that is closed, and
    swept where its process was killed. By default DuckDB takes one folder beside a file, and `.tmp` in the working
    directory for a database in memory: what a killed process had there, rows of sellers among it, would stay for ever,
    and a service's directory may be read-only.

    Args:
        connection: just opened.
        folder: one that `vps_assets.sweeping` sweeps, for the hidden one.
        database: tells it from the process's others, none of which may have its folder, and is the same for all of its
            connections; empty for one of this connection alone.
    """
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")  # `python -c` and spawned processes count as interactive
    own = spill_folder(folder, database, os.getpid()) if database else str(folder / temporary_name("spill"))
    with suppress(duckdb.NotImplementedException):  # it has spilled before: there
        connection.execute("set temp_directory = '" + own.replace("'", "''") + "'")


@lru_cache(maxsize=64)
def spill_folder(folder: Path, database: str, process: int) -> str:
    """Of a database that a process opens several times."""
    return str(folder / temporary_name("spill"))
