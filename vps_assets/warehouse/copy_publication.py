"""The publication of a file: a copy of all its tables whose blocking checks have passed."""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from vps_assets.home import Home
from vps_assets.settling import settle
from vps_assets.tables.schemas import TABLES
from vps_assets.warehouse import unchecked
from vps_assets.warehouse.catalogue import quoted
from vps_assets.warehouse.erasure import Said, delete
from vps_assets.warehouse.file import File, beside, log_of, quoted_path
from vps_assets.warehouse.lake import quoted_text
from vps_ml import durable
from vps_ml.atomic import locked, temporary_folder, whole_file
from vps_ml.cards import identity

PUBLISHERS_LOCK = ".publish.lock"
HEADERS = 3 * 4096
"""Bytes at the start of a DuckDB file that every checkpoint changes: its version, and twice the number of the last."""
DIGESTS: dict[object, dict[str, str]] = {}
"""The newest copy that this process has written (`identity_of`) -> its tables and their digests: what was read to write
it need not be read once more to renew it. Less the tables that say of assets that wait what the copy before did."""
OF_AN_ASSET = {
    "lineage.made": "asset",
    "lineage.digests": "asset",
    "state.taken": "asset",
    "state.corrections": "asset",
}
"""Tables beside those of the assets that hold rows about each -> the column that names it."""


@dataclass(frozen=True)
class Copy:
    """What is published of a file: `analytics.duckdb`, a copy that analysts open at any time."""

    file: File

    @property
    def home(self) -> Home:
        return self.file.home

    def publish(self) -> bool:
        """Renew the copy if the warehouse is another; whether it was.

        It is written under a temporary name and renamed over the old one, so readers of either are never in the way.
        A table that waits for a blocking check stays as it is in the old copy, with what is recorded of it. A lock file
        keeps two publishers from overtaking each other.

        Raises:
            LostWarehouse: only the copy is left; it is not touched.
        """
        self.file.refuse_if_lost()
        if not self.file.exists():
            return False
        with locked(self.home.path / PUBLISHERS_LOCK):
            for leftover in self.home.path.glob(".analytics.*"):
                leftover.unlink()
            if self.is_current():
                return False
            if log_of(self.home).exists():  # of a writer that was killed, or is at work
                with self.file.connect(read_only=False) as connection:
                    connection.execute("checkpoint")
            write_copy(self.file, self.home.analytics)
            return True

    def newest(self) -> object | None:
        """What tells one publication from another; None where there is none."""
        return identity_of(self.home.analytics)

    def is_current(self) -> bool:
        """Whether the copy is of the warehouse as it is now."""
        if not self.home.analytics.exists() or log_of(self.home).exists():
            return False
        return published(self.home)[0] == version_of(self.home)

    @contextlib.contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The copy, which must exist."""
        with duckdb.connect(str(self.home.analytics), read_only=True) as connection:
            settle(connection, self.home.path, str(self.home.analytics))
            yield connection

    def erase(self, seller: str, gone: list[str], said: Said | None = None) -> None:
        """Delete the seller's rows from what is published at once, whatever becomes of the tables that are made again.

        A table that fails its checks stays as it was, and would keep them there.
        """
        copy = self.home.analytics
        if not copy.exists():
            return
        with (
            locked(self.home.path / PUBLISHERS_LOCK),  # a publication at work would bring the rows back
            whole_file(copy) as temporary,
            temporary_folder(self.home.path, "erased") as folder,
        ):
            shutil.copyfile(copy, erased := folder / "erased.duckdb")
            with duckdb.connect(str(erased)) as connection:
                settle(connection, folder)
                delete(connection, seller, gone, said)
                connection.execute(f"attach {quoted_path(temporary)} as rewritten")  # without their blocks
                connection.execute("copy from database erased to rewritten")
                connection.execute("detach rewritten")
            keep_readers(copy, temporary)

    def leave_no_trace(self, seller: str, gone: list[str], said: Said | None = None) -> None:
        """Rewrite the tables' file, so that it has no deleted row, and publish it."""
        self.file.rewrite()
        self.publish()

    def forget(self, older_than_days: float) -> int:
        """A copy has nothing of before: none is forgotten."""
        return 0


def write_copy(file: File, target: Path) -> None:
    """Write the copy, whole or not at all: that of before, in which each table that has changed is another.

    To know which have, every value of both is read, of the copy once in a process: so nothing is published of a
    warehouse that a disk has damaged, and a damaged table of the copy is copied again, by the next process if the disk
    has damaged it since.
    No byte of a row that was never published comes into the copy; those of rows that were, and are no more, are gone
    with `Copy.erase`.
    """
    temporary = file.home.path / f".analytics.{uuid.uuid4().hex[:8]}.duckdb"
    try:
        if target.exists():
            shutil.copyfile(target, temporary)
        digests = renew(file, temporary, target)
        keep_readers(target, temporary)
        durable.sync(temporary)
        durable.move(temporary, target)
        DIGESTS.clear()
        DIGESTS[identity_of(target)] = digests
    finally:
        for left in (temporary, temporary.with_name(f"{temporary.name}.wal")):
            left.unlink(missing_ok=True)


def identity_of(file: Path) -> object | None:
    """What tells a file from another that stood or will stand in its place; None where there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return str(file), status.st_ino, status.st_mtime_ns


def renew(file: File, copy: Path, before: Path) -> dict[str, str]:
    """Let a copy of what was published before have what is in the warehouse now; the digests of its tables."""
    # Before the file is opened: whoever closes a file gives up all locks that its process has on it.
    version = version_of(file.home)
    with file.connect(read_only=True) as connection, beside(connection, copy, "published"):
        withheld = sorted(unchecked.read(connection))
        connection.execute("use published")
        digests = copy_changed(connection, withheld, DIGESTS.get(identity_of(before), {}))
        unchecked.compact(connection)
        if withheld:
            record_as_before(connection, before, withheld)
            connection.execute("delete from lineage.unchecked")
        comment(connection)
        connection.execute("create schema if not exists lineage")
        connection.execute(
            "create or replace table lineage.published as select ? as version, ? as withheld, now() as published_at",
            [version, withheld],
        )
    otherwise = {*unchecked.COMPACTED, *(OF_AN_ASSET if withheld else ())}  # written since, and not as the warehouse's
    return {name: digest for name, digest in digests.items() if name not in otherwise}


def copy_changed(
    connection: duckdb.DuckDBPyConnection, withheld: Collection[str], known: Mapping[str, str]
) -> dict[str, str]:
    """Give the open copy the warehouse's tables where its own are others, but those of assets that wait.

    Args:
        connection: to both.
        withheld: the assets that wait.
        known: digests of the copy's tables; of others they are computed.

    Returns:
        The digests of the tables that the copy has as the warehouse.
    """
    digests = {}
    stay = {f"{schema}.{asset}" for asset in withheld for schema in ("main", "state")}
    here, there = tables(connection, "published"), tables(connection, "warehouse")
    for name in here - there - stay:
        connection.execute(f"drop table {in_quotes(name)}")
    for name in sorted(there - stay):
        digests[name] = digest = digest_of(connection, "warehouse", name)
        if name not in here or (known.get(name) or copied_digest(connection, name)) != digest:
            connection.execute(f"create schema if not exists {quoted(name.partition('.')[0])}")
            connection.execute(f"create or replace table {in_quotes(name)} as from warehouse.{in_quotes(name)}")
    return digests


def tables(connection: duckdb.DuckDBPyConnection, database: str) -> set[str]:
    """The tables of an attached database, as `schema.name`, less what a publication says of itself."""
    query = "select schema_name || '.' || table_name from duckdb_tables() where database_name = ?"
    found = {name for (name,) in connection.execute(query, [database]).fetchall()}
    return found - {"lineage.published"}


def digest_of(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> str:
    """What is another if any value of a table is, whatever the order of its rows.

    Raises:
        duckdb.IOException: a block is not as it was written.
    """
    of_table = "from duckdb_columns() where database_name = ? and schema_name || '.' || table_name = ?"
    query = f"select column_name, data_type {of_table} order by column_index"  # noqa: S608
    columns = connection.execute(query, [database, name]).fetchall()
    read = f"select count(*), sum(hash(whole_row)) from {database}.{in_quotes(name)} as whole_row"  # noqa: S608
    return identity(columns, connection.execute(read).fetchall())


def copied_digest(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The digest of a table of the open copy; None if a disk has damaged it, so that it is copied again."""
    try:
        return digest_of(connection, "published", name)
    except duckdb.IOException:
        return None


def in_quotes(name: str) -> str:
    """`schema.name` as SQL takes it."""
    schema, _, table = name.partition(".")
    return f"{quoted(schema)}.{quoted(table)}"


def comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Let each table and column of the open copy say what it is, where it does not already."""
    here = "where database_name = current_catalog() and schema_name = 'main'"
    of_tables = f"select table_name, comment from duckdb_tables() {here}"  # noqa: S608
    of_columns = f"select table_name, column_name, comment from duckdb_columns() {here}"  # noqa: S608
    of_each_table, of_each_column = (connection.execute(query).fetchall() for query in (of_tables, of_columns))
    connection.execute("begin")
    for name, said in of_each_table:
        if name in TABLES and said != (what := TABLES[name].description):
            connection.execute(f"comment on table {quoted(name)} is {quoted_text(what)}")
    for name, column, said in of_each_column:
        spec = TABLES[name].columns.get(column) if name in TABLES else None
        if spec is not None and said != spec.description:
            connection.execute(f"comment on column {quoted(name)}.{quoted(column)} is {quoted_text(spec.description)}")
    connection.execute("commit")


def keep_readers(before: Path, after: Path) -> None:
    """Let those accounts read a new copy whom an operator has let read the one before."""
    if before.exists():
        shutil.copymode(before, after)
        with contextlib.suppress(OSError):
            os.chown(after, -1, before.stat().st_gid)


def record_as_before(connection: duckdb.DuckDBPyConnection, before: Path, assets: Collection[str]) -> None:
    """Let what the open copy records of these assets be what the copy before does."""
    with beside(connection, before, "before", read_only=True) if before.exists() else contextlib.nullcontext():
        for asset in assets:
            for table, column in OF_AN_ASSET.items():
                if not exists(connection, "published", table):
                    continue
                connection.execute(f"delete from {table} where {column} = ?", [asset])  # noqa: S608
                if before.exists() and alike(connection, table):
                    connection.execute(f"insert into {table} by name from before.{table} where {column} = ?", [asset])  # noqa: S608


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


def published(home: Home) -> tuple[str, list[str]]:
    """(the version of the warehouse that the copy is of, tables that stayed as they were before)."""
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        (database,) = connection.execute("select current_database()").fetchall()[0]
        if not exists(connection, database, "lineage.published"):
            return "", []
        return connection.execute("select version, withheld from lineage.published").fetchall()[0]
