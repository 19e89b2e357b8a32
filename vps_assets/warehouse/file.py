"""The default engine: one DuckDB file, short connections that wait for its lock."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import duckdb

from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_assets.settling import settle
from vps_ml import durable
from vps_ml.atomic import temporary_name

Result = TypeVar("Result")
LOCKED = "Could not set lock"
"""In DuckDB's message if another process holds the file; that of a broken file has "block" in it."""


class WarehouseBusy(Failure):
    """The warehouse stayed locked, or written by others, for longer than the caller waits."""


class LostWarehouse(Failure):
    """The warehouse is gone and its published copy is left, from which it can be restored."""


@dataclass(frozen=True)
class File:
    """The tables in `warehouse.duckdb`. One writer at a time; every connection is short."""

    home: Home
    lock_timeout_s: float = 120.0

    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self.home.warehouse.exists()

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
            settle(connection, self.home.path, file)
            yield connection
        finally:
            connection.close()
            if not read_only:
                durable.sync(self.home.path)  # the files' names; DuckDB writes their content through

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], Result], table: str = "") -> Result:
        """What `work` returns, having written in one transaction; a file has one writer at a time, of all tables."""
        with self.connect(read_only=False) as connection:
            connection.execute("begin")
            result = work(connection)
            connection.execute("commit")
        return result

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

    def waiting(self, opened: Callable[[], Result]) -> Result:
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
