"""The working DuckDB file: short transactions, waiting for its lock, and the analysts' published copy."""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.lineage.graph import Fingerprints, as_of, by_asset
from vps_ml.artefacts import temporary_name

MADE = "lineage.made"
Opened = TypeVar("Opened")


class WarehouseBusy(TimeoutError):
    """The warehouse stayed locked for longer than a run waits."""


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
        """What `opened` returns, once no other process holds the file."""
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
        """Rows of a table, of all its columns unless some are named; None where there is no such table yet.

        `where` is SQL with `?` for values.
        """
        if not self.home.warehouse.exists():
            return None
        with self.connect(read_only=True) as connection:
            return read_table(connection, table, where, parameters, columns)

    def replace(
        self, table: str, rows: pl.DataFrame, where: str, parameters: Sequence, made: dict[str, str | None]
    ) -> None:
        """In one transaction: take out the rows that `where` names, put in `rows` by column name, record `made`.

        `made` maps partitions to fingerprints; None forgets the partition.
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
        """How many good sold listings have landed and been taken in."""
        good = self.read("raw_listings", "sold_price is not null and len(landing_reasons) = 0", columns=["listed_on"])
        return 0 if good is None else good.height

    def fingerprints(self) -> Fingerprints:
        """All recorded fingerprints."""
        return by_asset(self.read_made())

    def made_at(self) -> dict[str, float]:
        """Asset -> when its newest partition was made, in seconds since 1970."""
        if not self.home.warehouse.exists():
            return {}
        with self.connect(read_only=True) as connection:
            if not table_exists(connection, MADE):
                return {}
            return dict(connection.execute(f"select asset, epoch(max(made_at)) from {MADE} group by asset").fetchall())  # noqa: S608

    def read_made(self) -> list[tuple[str, str, str]]:
        if not self.home.warehouse.exists():
            return []
        with self.connect(read_only=True) as connection:
            return made_rows(connection)

    def read_with_fingerprints(
        self, table: str, where: str = "true", parameters: Sequence = ()
    ) -> tuple[pl.DataFrame | None, Fingerprints]:
        """Rows and the table's fingerprints, as of the same moment; of a statistics table also what it says by day."""
        found: Fingerprints = {table: {}}
        if not self.home.warehouse.exists():
            return None, found
        with self.connect(read_only=True) as connection:
            rows = read_table(connection, table, where, parameters)
            return rows, found | by_asset(row for row in made_rows(connection) if row[0] in (table, as_of(table)))

    def rewrite(self) -> None:
        """Write the file anew, so that no free block of it holds a deleted row any more.

        Others wait meanwhile, as for any writer, and then open the new file.
        """
        temporary = self.home.path / temporary_name(self.home.warehouse.name)
        try:
            with self.connect(read_only=False) as connection:  # nobody else has it open, or can open it
                connection.execute("checkpoint")  # what a killed writer left in the log is in the file now
                connection.execute(f"attach {text(temporary)} as rewritten")
                connection.execute("copy from database warehouse to rewritten")
                connection.execute("detach rewritten")
                temporary.replace(self.home.warehouse)
        finally:
            temporary.unlink(missing_ok=True)

    def publish(self) -> bool:
        """Renew the analysts' copy if the warehouse is newer; whether it was.

        A copy of all tables is made under a temporary name and renamed over the old one, so readers of either
        are never in the way. The copy carries the warehouse's modification time, which tells whether it is
        current; a lock file keeps two publishers from overtaking each other.
        """
        if not self.home.warehouse.exists():
            return False
        with locked(self.home.path / ".publish.lock"):
            for leftover in self.home.path.glob(".analytics.*"):
                leftover.unlink()
            if current(self.home):
                return False
            if log_of(self.home).exists():  # of a writer that was killed, or is at work
                with self.connect(read_only=False) as connection:
                    connection.execute("checkpoint")
            temporary = self.home.path / f".analytics.{uuid.uuid4().hex[:8]}.duckdb"
            with duckdb.connect() as connection:
                source = text(self.home.warehouse)
                self.waiting(lambda: connection.execute(f"attach {source} as warehouse (read_only)"))
                stamp = self.home.warehouse.stat().st_mtime_ns
                connection.execute(f"attach {text(temporary)} as published")
                connection.execute("copy from database warehouse to published")
                connection.execute("detach published")
            os.utime(temporary, ns=(stamp, stamp))
            temporary.replace(self.home.analytics)
            return True


def text(path: Path) -> str:
    """A path as SQL takes it."""
    return "'" + str(path).replace("'", "''") + "'"


def log_of(home: Home) -> Path:
    """Where DuckDB keeps what is committed and not in the file yet."""
    return home.warehouse.with_name(f"{home.warehouse.name}.wal")


def current(home: Home) -> bool:
    """Whether the published copy is of the warehouse as it is now."""
    if not home.analytics.exists() or log_of(home).exists():
        return False
    return home.analytics.stat().st_mtime_ns == home.warehouse.stat().st_mtime_ns


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; freed by the system if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    """Give a table that older code wrote the columns of today's schema, within the caller's transaction.

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


def made_rows(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    if not table_exists(connection, MADE):
        return []
    return connection.execute(f"select asset, partition, fingerprint from {MADE}").fetchall()  # noqa: S608


def record(connection: duckdb.DuckDBPyConnection, asset: str, made: dict[str, str | None]) -> None:
    """Replace the fingerprints of these partitions, within the caller's transaction."""
    connection.execute("create schema if not exists lineage")
    connection.execute(
        f"create table if not exists {MADE} (asset text, partition text, fingerprint text, made_at timestamptz)"
    )
    connection.execute(f"delete from {MADE} where asset = ? and list_contains(?, partition)", [asset, list(made)])  # noqa: S608
    kept = pl.DataFrame(
        [(asset, partition, value) for partition, value in made.items() if value is not None],
        schema={"asset": pl.String, "partition": pl.String, "fingerprint": pl.String},
        orient="row",
    )
    connection.register("made_now", kept.to_arrow())
    connection.execute(f"insert into {MADE} select *, now() from made_now")  # noqa: S608
