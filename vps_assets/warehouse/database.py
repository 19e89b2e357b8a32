"""The working DuckDB file: short transactions that wait for its lock."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Records
from vps_assets.warehouse import unchecked
from vps_assets.warehouse.named_files import NamedFiles, named_files
from vps_assets.warehouse.records import read_made_at, read_records, record
from vps_assets.warehouse.unchecked import Checks, Passed
from vps_ml import durable
from vps_ml.atomic import temporary_name

Opened = TypeVar("Opened")
NO_CHECKS = Checks()
LOCKED = "Could not set lock"
"""In DuckDB's message if another process holds the file; that of a broken file has "block" in it."""


class WarehouseBusy(Failure):
    """The warehouse stayed locked for longer than the caller waits."""


class LostWarehouse(Failure):
    """The warehouse is gone and its published copy is left, from which it can be restored."""


def quoted(name: str) -> str:
    """A table or column name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Known:
    """What the warehouse knows of its tables."""

    records: Records = field(default_factory=Records)
    made_at: Mapping[str, float] = field(default_factory=dict)
    """Asset -> when its newest partition was made, in seconds since 1970."""
    unchecked: Mapping[str, set[str]] = field(default_factory=dict)
    """Asset -> partitions that wait for a blocking check, or failed it."""
    files: NamedFiles = field(default_factory=dict)
    """(asset, partition) -> models and embeddings that its rows name."""


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
            LostWarehouse: to write, where only the published copy is left.
        """
        durable.make_folder(self.home.path)
        if not read_only:
            self.refuse_if_lost()
        file = str(self.home.warehouse)
        connection = self.waiting(lambda: duckdb.connect(file, read_only=read_only))
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()
            if not read_only:
                durable.sync(self.home.path)  # the files' names; DuckDB writes their content through

    def refuse_if_lost(self) -> None:
        """Nothing is written beside a copy that is all that is left: the next publication would replace it.

        Raises:
            LostWarehouse: there is no warehouse, but a published copy of one.
        """
        here, copy = self.home.warehouse, self.home.analytics
        if copy.exists() and not (here.exists() and here.stat().st_size):
            with contextlib.suppress(FileNotFoundError):  # DuckDB would apply it to the copy, whose rows are others
                log_of(self.home).replace(here.with_name(f"{here.name}.lost.wal"))
            raise LostWarehouse(f"{here.name} is gone, its published copy is not: `cp {copy} {here}`, then `vps run`")

    def waiting(self, opened: Callable[[], Opened]) -> Opened:
        """The result of `opened`, once no other process holds the file."""
        deadline = time.monotonic() + self.lock_timeout_s
        pause_s = 0.02
        while True:
            try:
                return opened()
            except duckdb.IOException as error:
                if LOCKED not in str(error):
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
        checks: Checks = NO_CHECKS,
    ) -> None:
        """In one transaction: delete the rows that `where` selects, insert `rows` by column name, record `made`.

        `made` maps partitions to fingerprints; None removes the partition's. `checks` are the blocking checks that
        these partitions have to pass before the table is published.
        """
        with self.connect(read_only=False) as connection:
            connection.register("incoming", rows.to_arrow())
            connection.execute("begin")
            connection.execute(f"create table if not exists {quoted(table)} as from incoming limit 0")
            take_columns_of_incoming(connection, table)
            connection.execute(f"delete from {quoted(table)} where {where}", list(parameters))  # noqa: S608
            connection.execute(f"insert into {quoted(table)} by name from incoming")  # noqa: S608
            record(connection, table, made)
            unchecked.add(connection, table, list(made), checks)
            connection.execute("commit")

    def unchecked(self) -> Mapping[str, set[str]]:
        """Asset -> partitions that wait for a blocking check, or failed it."""
        if not self.home.warehouse.exists():
            return {}
        with self.connect(read_only=True) as connection:
            return unchecked.read(connection)

    def note_passed(self, passed: Sequence[Passed]) -> None:
        """These checks have passed."""
        with self.connect(read_only=False) as connection:
            connection.execute("begin")
            connection.execute(unchecked.SCHEMA)
            for one in passed:
                unchecked.take_away(connection, one)
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

    def known(self) -> "Known":
        """Everything that planning needs, as of the same moment."""
        if not self.home.warehouse.exists():
            return Known()
        with self.connect(read_only=True) as connection:
            return Known(
                read_records(connection), read_made_at(connection), unchecked.read(connection), named_files(connection)
            )

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
                durable.sync(temporary)
                durable.move(temporary, self.home.warehouse)
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
