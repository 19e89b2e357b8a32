"""The working DuckDB file: short transactions that wait for its lock."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Records
from vps_assets.warehouse.records import read_made_at, read_records, record
from vps_ml.atomic import temporary_name

Opened = TypeVar("Opened")


class WarehouseBusy(Failure):
    """The warehouse stayed locked for longer than the caller waits."""


def quoted(name: str) -> str:
    """A table or column name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


class Warehouse:
    """The working tables. One writer at a time; every connection is short."""

    def __init__(self, home: Home, lock_timeout_s: float = 120.0) -> None:
        self.home = home
        self.lock_timeout_s = lock_timeout_s

    @contextlib.contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, once the file is free; closed at the end of the block, also when it raises.

        Raises:
            WarehouseBusy: another process held the file for `lock_timeout_s`; the message names it.
        """
        self.home.path.mkdir(parents=True, exist_ok=True)
        file = str(self.home.warehouse)
        connection = self.waiting(lambda: duckdb.connect(file, read_only=read_only))
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def waiting(self, opened: Callable[[], Opened]) -> Opened:
        """The result of `opened`, once no other process holds the file."""
        deadline = time.monotonic() + self.lock_timeout_s
        pause_s = 0.02
        while True:
            try:
                return opened()
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise
                if time.monotonic() > deadline:
                    message = f"warehouse.duckdb was busy for {self.lock_timeout_s:.0f} s: {error}"
                    raise WarehouseBusy(message) from error
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, 1.0)

    def read(
        self, table: str, where: str = "true", parameters: Sequence = (), columns: Sequence[str] = ()
    ) -> pl.DataFrame | None:
        """Rows of a table, with all columns unless some are named; None if there is no such table yet.

        `where` is SQL with `?` for values.
        """
        if not self.home.warehouse.exists():
            return None
        with self.connect(read_only=True) as connection:
            return read_table(connection, table, where, parameters, columns)

    def replace(
        self,
        table: str,
        rows: pl.DataFrame,
        where: str,
        parameters: Sequence,
        made: Mapping[str, Fingerprint | None],
    ) -> None:
        """In one transaction: delete the rows that `where` selects, insert `rows` by column name, record `made`.

        `made` maps partitions to fingerprints; None removes the partition's.
        """
        with self.connect(read_only=False) as connection:
            connection.register("incoming", rows.to_arrow())
            connection.execute("begin")
            connection.execute(f"create table if not exists {quoted(table)} as from incoming limit 0")
            take_columns_of_incoming(connection, table)
            connection.execute(f"delete from {quoted(table)} where {where}", list(parameters))  # noqa: S608
            connection.execute(f"insert into {quoted(table)} by name from incoming")  # noqa: S608
            record(connection, table, made)
            connection.execute("commit")

    def good_sales(self) -> int:
        """How many good sold listings are in `raw_listings`."""
        good = self.read("raw_listings", "sold_price is not null and len(landing_reasons) = 0", columns=["listed_on"])
        return 0 if good is None else good.height

    def records(self) -> Records:
        """The fingerprints of all tables, and the statistics' digests."""
        if not self.home.warehouse.exists():
            return Records()
        with self.connect(read_only=True) as connection:
            return read_records(connection)

    def made_at(self) -> dict[str, float]:
        """Asset -> when its newest partition was made, in seconds since 1970."""
        if not self.home.warehouse.exists():
            return {}
        with self.connect(read_only=True) as connection:
            return read_made_at(connection)

    def read_with_records(
        self, table: str, where: str = "true", parameters: Sequence = ()
    ) -> tuple[pl.DataFrame | None, Records]:
        """Rows of a table and its records, as of the same moment."""
        if not self.home.warehouse.exists():
            return None, Records({table: {}})
        with self.connect(read_only=True) as connection:
            rows = read_table(connection, table, where, parameters)
            return rows, Records({table: {}}).updated(read_records(connection, [table]))

    def rewrite(self) -> None:
        """Rewrite the file, so that none of its free blocks holds a deleted row.

        Others wait meanwhile, as for any writer, and then open the new file.
        """
        temporary = self.home.path / temporary_name(self.home.warehouse.name)
        try:
            with self.connect(read_only=False) as connection:  # nobody else has it open, or can open it
                connection.execute("checkpoint")  # moves what a killed writer left in the log into the file
                connection.execute(f"attach {quoted_path(temporary)} as rewritten")
                connection.execute("copy from database warehouse to rewritten")
                connection.execute("detach rewritten")
                temporary.replace(self.home.warehouse)
        finally:
            temporary.unlink(missing_ok=True)


def quoted_path(path: Path) -> str:
    """A path as SQL takes it."""
    return "'" + str(path).replace("'", "''") + "'"


def log_of(home: Home) -> Path:
    """Where DuckDB keeps what is committed but not in the file yet."""
    return home.warehouse.with_name(f"{home.warehouse.name}.wal")


def table_exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    query = "select count(*) from information_schema.tables where table_schema || '.' || table_name = ?"
    name = table if "." in table else f"main.{table}"
    return bool(connection.execute(query, [name]).fetchall()[0][0])


def read_table(
    connection: duckdb.DuckDBPyConnection, table: str, where: str, parameters: Sequence, columns: Sequence[str] = ()
) -> pl.DataFrame | None:
    if not table_exists(connection, table):
        return None
    names = ", ".join(quoted(name) for name in columns) or "*"
    query = f"select {names} from {quoted(table)} where {where}"  # noqa: S608
    return pl.DataFrame(connection.execute(query, list(parameters)).to_arrow_table())


def take_columns_of_incoming(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Give a table that older code wrote the columns of the relation `incoming`, within the caller's transaction.

    Rows that are not replaced have nulls in new columns; a new code version makes them out of date anyway.
    """
    have, want = (
        {row[0]: row[1] for row in connection.execute(f"describe {name}").fetchall()}
        for name in (quoted(table), "incoming")
    )
    for name in [name for name in want if name not in have]:  # in the schema's order
        connection.execute(f"alter table {quoted(table)} add column {quoted(name)} {want[name]}")
    for name in [name for name in have if name not in want]:
        connection.execute(f"alter table {quoted(table)} drop column {quoted(name)}")
