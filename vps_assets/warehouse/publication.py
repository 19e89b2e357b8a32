"""The publication of the analysts' copy: all tables of the warehouse whose blocking checks passed.

Of a lake there is no copy, but views (`lake_publication`).
"""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

import duckdb

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES
from vps_assets.warehouse import lake_publication, unchecked
from vps_assets.warehouse.database import Warehouse, quoted
from vps_assets.warehouse.erasure import Said, delete
from vps_assets.warehouse.file import File, log_of, quoted_path
from vps_assets.warehouse.lake import Lake, quoted_text
from vps_ml import durable
from vps_ml.atomic import locked, temporary_folder, whole_file

HEADERS = 3 * 4096
"""Bytes at the start of a DuckDB file that every checkpoint changes: its version, and twice the number of the last."""
OF_AN_ASSET = {
    "lineage.made": "asset",
    "lineage.digests": "asset",
    "state.taken": "asset",
    "state.corrections": "asset",
}
"""Tables beside those of the assets that hold rows about each -> the column that names it."""


def publish(warehouse: Warehouse) -> bool:
    """Renew the analysts' copy if the warehouse is another; whether it was.

    A copy is written under a temporary name and renamed over the old one, so readers of either are never in the way.
    A table that waits for a blocking check stays as it is in the old copy, with what is recorded of it. A lock file
    keeps two publishers from overtaking each other.

    Raises:
        LostWarehouse: only the copy is left; it is not touched.
    """
    if isinstance(warehouse.engine, Lake):
        return lake_publication.publish(warehouse.engine)
    home, file = warehouse.home, warehouse.engine
    file.refuse_if_lost()
    if not home.warehouse.exists():
        return False
    with locked(home.path / ".publish.lock"):
        for leftover in home.path.glob(".analytics.*"):
            leftover.unlink()
        if current(home):
            return False
        if log_of(home).exists():  # of a writer that was killed, or is at work
            with file.connect(read_only=False) as connection:
                connection.execute("checkpoint")
        write_copy(file, home.analytics)
        return True


def write_copy(file: File, target: Path) -> None:
    """Write the copy, whole or not at all.

    The file is copied as it is, with its free blocks: DuckDB's own copy of each table takes fifty times as long of a
    million listings, after each run. What a forgotten seller's rows were in is not among them (`File.rewrite`).
    """
    home = file.home
    temporary = home.path / f".analytics.{uuid.uuid4().hex[:8]}.duckdb"
    with duckdb.connect() as connection:
        version = copy_file(file, temporary, connection)
        connection.execute(f"attach {quoted_path(temporary)} as published")
        connection.execute("use published")
        withheld = sorted(unchecked.read(connection))
        unchecked.compact(connection)
        if withheld:
            keep_as_before(connection, target, withheld)
            connection.execute("delete from lineage.unchecked")
        comment(connection)
        connection.execute("create schema if not exists lineage")
        connection.execute(
            "create or replace table lineage.published as select ? as version, ? as withheld, now() as published_at",
            [version, withheld],
        )
        connection.execute("use memory")
        connection.execute("detach published")
    keep_readers(target, temporary)
    durable.sync(temporary)
    durable.move(temporary, target)


def copy_file(file: File, target: Path, connection: duckdb.DuckDBPyConnection) -> str:
    """The version of the warehouse that the target is then a copy of; nobody writes meanwhile."""
    home = file.home
    source = quoted_path(home.warehouse)
    file.waiting(lambda: connection.execute(f"attach {source} as warehouse (read_only)"))
    version = version_of(home)
    shutil.copyfile(home.warehouse, target)
    if (log := log_of(home)).exists():  # of a writer that was killed just now
        shutil.copyfile(log, target.with_name(f"{target.name}.wal"))
    connection.execute("detach warehouse")
    return version


def comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Let each table and column of the open copy say what it is."""
    here = "select table_name from duckdb_tables() where database_name = current_catalog() and schema_name = 'main'"
    connection.execute("begin")
    for (name,) in connection.execute(here).fetchall():
        if (schema := TABLES.get(name)) is None:
            continue
        connection.execute(f"comment on table {quoted(name)} is {quoted_text(schema.description)}")
        have = {column for (column, *_) in connection.execute(f"describe {quoted(name)}").fetchall()}
        for column, spec in schema.columns.items():
            if column in have:
                what = quoted_text(spec.description)
                connection.execute(f"comment on column {quoted(name)}.{quoted(column)} is {what}")
    connection.execute("commit")


def erase_published(home: Home, seller: str, gone: list[str], said: Said | None = None) -> None:
    """Delete the seller's rows from what is published at once, whatever becomes of the tables that are made again.

    A table that fails its checks stays as it was, and would keep them there.
    """
    if home.lake:
        lake_publication.erase_published(Lake(home), seller, gone, said)
    elif home.analytics.exists():
        with whole_file(home.analytics) as temporary, temporary_folder(home.path, "erased") as folder:
            shutil.copyfile(home.analytics, erased := folder / "erased.duckdb")
            with duckdb.connect(str(erased)) as connection:
                delete(connection, seller, gone, said)
                connection.execute(f"attach {quoted_path(temporary)} as rewritten")  # without their blocks
                connection.execute("copy from database erased to rewritten")
                connection.execute("detach rewritten")
            keep_readers(home.analytics, temporary)


def leave_no_trace(warehouse: Warehouse, seller: str, gone: list[str], said: Said | None = None) -> None:
    """Rewrite the tables' files, so that none has a deleted row, and publish them."""
    warehouse.engine.rewrite()
    publish(warehouse)
    if isinstance(warehouse.engine, Lake):
        # Of tables that wait for a check by now, too.
        lake_publication.erase_published(warehouse.engine, seller, gone, said)
        lake_publication.forget_snapshots(warehouse.engine, older_than_days=0)


def keep_readers(before: Path, after: Path) -> None:
    """Let those accounts read a new copy whom an operator has let read the one before."""
    if before.exists():
        shutil.copymode(before, after)
        with contextlib.suppress(OSError):
            os.chown(after, -1, before.stat().st_gid)


def keep_as_before(connection: duckdb.DuckDBPyConnection, before: Path, assets: Collection[str]) -> None:
    """Give the open copy these assets' tables, and what is recorded of them, as they are in the copy before."""
    if before.exists():
        connection.execute(f"attach {quoted_path(before)} as before (read_only)")
    for asset in assets:
        for table in (f"main.{quoted(asset)}", f"state.{quoted(asset)}"):
            connection.execute(f"drop table if exists {table}")
            if before.exists() and exists(connection, "before", table.replace('"', "")):
                connection.execute(f"create table {table} as from before.{table}")
        for table, column in OF_AN_ASSET.items():
            if not exists(connection, "published", table):
                continue
            connection.execute(f"delete from {table} where {column} = ?", [asset])  # noqa: S608
            if before.exists() and alike(connection, table):
                connection.execute(f"insert into {table} by name from before.{table} where {column} = ?", [asset])  # noqa: S608
    if before.exists():
        connection.execute("detach before")


def columns(connection: duckdb.DuckDBPyConnection, database: str, table: str) -> set[str]:
    """The columns of a table of an attached database; none if there is no such table."""
    query = "select column_name from duckdb_columns() where database_name = ? and schema_name || '.' || table_name = ?"
    return {name for (name,) in connection.execute(query, [database, table]).fetchall()}


def exists(connection: duckdb.DuckDBPyConnection, database: str, table: str) -> bool:
    return bool(columns(connection, database, table))


def alike(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether both copies have the table with the same columns; an older version's may have others."""
    return columns(connection, "before", table) == columns(connection, "published", table)


def version_of(home: Home) -> str:
    """What differs after every checkpoint of the warehouse; no clock has a part in it."""
    with home.warehouse.open("rb") as file:
        return hashlib.sha256(file.read(HEADERS)).hexdigest()


def newest_publication(home: Home) -> object | None:
    """What tells one publication from another; None where there is none."""
    if home.lake:
        return lake_publication.newest_publication(Lake(home))
    try:
        status = home.analytics.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def current(home: Home) -> bool:
    """Whether what is published is of the warehouse as it is now."""
    if home.lake:
        return lake_publication.is_current(Lake(home))
    if not home.analytics.exists() or log_of(home).exists():
        return False
    return published(home)[0] == version_of(home)


def published(home: Home) -> tuple[str, list[str]]:
    """(the version of the warehouse that the copy is of, tables that stayed as they were before)."""
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        (database,) = connection.execute("select current_database()").fetchall()[0]
        if not exists(connection, database, "lineage.published"):
            return "", []
        return connection.execute("select version, withheld from lineage.published").fetchall()[0]
