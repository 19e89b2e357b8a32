"""The default engine: one DuckDB file, short connections that wait for its lock."""

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
HELD = "Unique file handle conflict"
"""In its message if another DuckDB of this process does, as one whose rows somebody still reads."""
WAREHOUSE = "warehouse"
"""The name of the attached file, which is that of a file that is opened."""


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
        try:
            with kept(file) as attached:
                connection = self.waiting(lambda: attached.cursor(read_only=read_only))
                try:
                    connection.execute(f"use {WAREHOUSE}")
                    settle(connection, self.home.path, file)
                    yield connection
                finally:
                    attached.close(connection)
        finally:
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
            except (duckdb.IOException, duckdb.BinderException) as error:
                if LOCKED not in str(error) and HELD not in str(error):
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
            with self.connect(read_only=False) as connection:  # no other process has it open, or can open it
                connection.execute("checkpoint")  # moves what a killed writer left in the log into the file
                with beside(connection, temporary, "rewritten"):
                    connection.execute(f"copy from database {WAREHOUSE} to rewritten")
                durable.sync(temporary)
                durable.move(temporary, self.home.warehouse)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def beside(connection: duckdb.DuckDBPyConnection, file: Path, name: str, *, read_only: bool = False) -> Iterator[None]:
    """Attach another file to a connection's DuckDB, which the process keeps: it is detached whatever happens.

    Afterwards the database in use is the one before.
    """
    (in_use,) = connection.execute("select current_catalog()").fetchall()[0]
    attach(connection, file, name, read_only=read_only)
    try:
        yield
    finally:
        roll_back(connection)
        connection.execute(f"use {in_use}")
        connection.execute(f"detach {name}")


@dataclass
class Attached:
    """A DuckDB of this process, to which the file is attached while somebody has a connection to it.

    A run opens the file hundreds of times, since whoever has it open keeps writers away. To attach it costs a third of
    opening it, which makes a DuckDB each time.
    """

    file: str
    database: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    """Who has a connection, or waits for one."""
    connections: int = 0
    read_only: bool = True

    def cursor(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        """A connection to the file, beside others of the same kind.

        Raises:
            duckdb.IOException: another process holds it, or another thread in the other way.
        """
        with self.lock:
            if not self.connections:
                attach(self.database, Path(self.file), WAREHOUSE, read_only=read_only)
                self.read_only = read_only
            elif self.read_only != read_only:
                raise duckdb.IOException(f"{LOCKED}: process {os.getpid()} has {self.file} open in another thread")
            self.connections += 1
            return self.database.cursor()

    def close(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Close a connection; the last one gives the file up."""
        with self.lock:
            try:
                roll_back(connection)
            finally:
                connection.close()
                self.connections -= 1
                if not self.connections:
                    self.give_up()

    def give_up(self) -> None:
        """Detach the file, once what its log has is in it.

        Where there is no room for that the log stays, and whoever opens the file next takes what it has.
        """
        try:
            self.database.execute(f"detach {WAREHOUSE}")
        except duckdb.Error as error:
            if "CHECKPOINT during DETACH failed" not in str(error):
                raise


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """Undo what was begun and not committed: of a write that a signal has interrupted DuckDB keeps the file otherwise.

    Raises:
        RuntimeError: another signal came meanwhile; it is undone all the same.
    """
    again = None
    while True:
        try:
            connection.interrupt()  # a query that a signal has ended here goes on in DuckDB's threads
            connection.rollback()
        except duckdb.Error:  # nothing was begun
            break
        except RuntimeError as error:
            again = error
        else:
            break
    if again is not None:
        raise again


KEPT: dict[str, Attached] = {}
"""File -> this process's DuckDB for it."""
KEPT_LOCK = threading.Lock()
MOST_IDLE = 2


@contextlib.contextmanager
def kept(file: str) -> Iterator[Attached]:
    """This process's DuckDB for a file, which stays for the next; after an error another takes its place."""
    with KEPT_LOCK:
        idle = [name for name, one in KEPT.items() if not one.users]
        for name in idle[: len(idle) - MOST_IDLE]:
            del KEPT[name]
        if file not in KEPT:
            KEPT[file] = Attached(file)
        attached = KEPT[file]
        attached.users += 1
    try:
        yield attached
    except BaseException:
        with KEPT_LOCK:
            if attached.users == 1 and KEPT.get(file) is attached:  # its state may be anything after an interruption
                del KEPT[file]
                attached.database.close()
        raise
    finally:
        with KEPT_LOCK:
            attached.users -= 1


def leave_to_the_parent() -> None:
    """In a process that was forked: to close its parent's DuckDB it would wait for threads that it does not have.

    It can open the file itself. With two DuckDBs of its own it would be aborted when it ends, whatever we do.
    """
    global KEPT_LOCK
    KEPT_LOCK = threading.Lock()
    for attached in KEPT.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(attached.database))
    KEPT.clear()


os.register_at_fork(after_in_child=leave_to_the_parent)


def attach(connection: duckdb.DuckDBPyConnection, file: Path, name: str, *, read_only: bool) -> None:
    connection.execute(f"attach {quoted_path(file)} as {name}{' (read_only)' if read_only else ''}")


def quoted_path(path: Path) -> str:
    """A path as SQL takes it."""
    return "'" + str(path).replace("'", "''") + "'"


def log_of(home: Home) -> Path:
    """Where DuckDB keeps what is committed but not in the file yet."""
    return home.warehouse.with_name(f"{home.warehouse.name}.wal")
