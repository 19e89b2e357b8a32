"""The other engine: a DuckLake, tables as Parquet files whose catalogue is in Postgres, for several hosts.

Several processes read and write it at once. Each has one connection, attached once, and hands out cursors: attaching
costs ten times what reading a table does. Writers of a table take turns: DuckLake lets two transactions append to it
that have each found nothing to delete, and a partition that two make for the first time would be there twice. What
else conflicts is done again.
"""

import contextlib
import importlib.util
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import duckdb

from vps_assets.errors import Failure, one_line
from vps_assets.home import Home
from vps_assets.settling import settle
from vps_assets.warehouse.file import WarehouseBusy, roll_back

Result = TypeVar("Result")
CATALOGUE = "warehouse"
"""What the lake is called in our own connections."""
CATALOGUES_DATABASE = f"__ducklake_metadata_{CATALOGUE}"
"""What DuckLake calls the Postgres that its catalogue is in."""
EXTENSIONS = ("ducklake", "postgres_scanner", "httpfs")
SCHEMAS = ("lineage", "state", "published", "held")
LONGEST_PAUSE_S = 2.0
RECORDS = {"made", "unchecked", "passed", "digests"}
MOST_FILES = 100
"""Of a table of records: reading it opens each of them, at a millisecond each."""
HELD_LOCK = threading.Lock()


class NoLake(Failure):
    """The lake cannot be attached; the message says what to do."""


def always() -> None:
    """No turn is needed."""


def ask(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    """What the lake's Postgres answers, within the caller's transaction."""
    return connection.execute("select * from postgres_query(?, ?)", [CATALOGUES_DATABASE, query]).fetchall()


@dataclass(frozen=True)
class Lake:
    """The tables in a lake, which `vps init` has made."""

    home: Home
    lock_timeout_s: float = 120.0

    def exists(self) -> bool:
        """A lake is always there to read, or an error."""
        return True

    def refuse_if_lost(self) -> None:
        """A lake has no copy that could be taken for it."""

    @contextlib.contextmanager
    def connect(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor; one that is read-only sees a single snapshot.

        Raises:
            NoLake: it cannot be attached.
        """
        with HELD_LOCK:
            cursor = held(self.home.lake, self.home.bucket, os.getpid()).cursor()
        try:
            cursor.execute(f"use {CATALOGUE}")
            settle(cursor, self.home.path, self.home.lake)
            if read_only:
                cursor.execute("begin transaction read only")
            yield cursor
        finally:
            try:
                roll_back(cursor)  # closed with a transaction whose Postgres is gone, DuckDB aborts
            finally:
                cursor.close()

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], Result], table: str = "") -> Result:
        """What `work` returns, having written in one transaction; done again if another one was faster.

        Args:
            work: is given a connection.
            table: the table whose rows it replaces, of which there is one writer at a time; none if it only deletes.

        Raises:
            WarehouseBusy: others wrote the table, or were faster, for `lock_timeout_s`.
        """
        deadline, pause_s = time.monotonic() + self.lock_timeout_s, 0.05
        while True:
            try:
                with self.turn(table) if table else contextlib.nullcontext(always) as still_ours:
                    return self.attempt(work, still_ours)
            except duckdb.TransactionException as error:
                if time.monotonic() > deadline:
                    busy = f"other transactions were faster for {self.lock_timeout_s:.0f} s: {one_line(error)}"
                    raise WarehouseBusy(busy) from error
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  (two that wait must not meet again)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    @contextlib.contextmanager
    def turn(self, table: str) -> Iterator[Callable[[], object]]:
        """Be the one writer of a table, on all hosts; a writer that is killed is one no more.

        Gives what raises a `duckdb.Error` if it is another's turn by now, since the connection to Postgres was lost.

        Raises:
            WarehouseBusy: another one was, for `lock_timeout_s`.
        """
        waits = f"""
            select set_config('lock_timeout', '{self.lock_timeout_s * 1000:.0f}', true) as waits,
                set_config('idle_in_transaction_session_timeout', '0', true) as stays
        """  # noqa: S608
        takes = f"select pg_advisory_xact_lock(hashtextextended({quoted_text(f'vps {table}')}, 0)) is null"
        with self.connect(read_only=False) as connection:
            connection.execute("begin")  # Postgres' lock is held until this ends
            try:
                for query in (waits, takes):
                    ask(connection, query)
            except duckdb.IOException as error:
                if "lock timeout" not in str(error):
                    raise
                raise WarehouseBusy(f"{table} was written by others for {self.lock_timeout_s:.0f} s") from error
            yield lambda: ask(connection, "select 1")

    def attempt(
        self, work: Callable[[duckdb.DuckDBPyConnection], Result], still_ours: Callable[[], object] = always
    ) -> Result:
        """One try of a transaction, which is not committed if `still_ours` raises an error."""
        with self.connect(read_only=False) as connection:
            connection.execute("begin")
            result = work(connection)
            still_ours()
            connection.execute("commit")
        return result

    def merge_records(self, most: int = MOST_FILES) -> None:
        """Merge the files of the records, of which every write adds some, where a table has more than `most`."""
        with self.connect(read_only=True) as connection:
            query = f"select table_name from ducklake_table_info('{CATALOGUE}') where file_count > ?"  # noqa: S608
            many = {name for (name,) in connection.execute(query, [most]).fetchall()}
        for table in sorted(many & RECORDS):
            with contextlib.suppress(duckdb.TransactionException), self.connect(read_only=False) as connection:
                connection.execute(f"call ducklake_merge_adjacent_files('{CATALOGUE}', '{table}', schema => 'lineage')")

    def rewrite(self) -> None:
        """Rewrite the files that have deleted rows; earlier snapshots still name the old ones."""
        with self.connect(read_only=False) as connection:
            connection.execute(f"call ducklake_rewrite_data_files('{CATALOGUE}', delete_threshold => 0)")


def initialise(home: Home) -> None:
    """Make the lake and its schemas, where they are not there yet.

    Raises:
        NoLake: the catalogue's database cannot be reached.
    """
    with duckdb.connect() as connection:
        prepare(connection, home.bucket)
        where = quoted_text(f"{home.bucket or home.path}/tables/")
        attach(connection, home.lake, f"data_path {where}")
        # Rows in files alone: what is inlined in the catalogue would outlive its deletion in Postgres' own files.
        connection.execute(f"call {CATALOGUE}.set_option('data_inlining_row_limit', 0)")
        for schema in SCHEMAS:
            connection.execute(f"create schema if not exists {CATALOGUE}.{schema}")


@lru_cache(maxsize=2)
def held(lake: str, bucket: str, process: int) -> duckdb.DuckDBPyConnection:
    """This process's connection; one of its own in each process, since none survives a fork."""
    connection = duckdb.connect()
    try:
        prepare(connection, bucket)
        attach(connection, lake, "create_if_not_exists false")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: duckdb.DuckDBPyConnection, bucket: str) -> None:
    """Load what a lake needs.

    Raises:
        NoLake: an extension is not installed.
    """
    connection.execute("set autoinstall_known_extensions = false")  # nothing is downloaded unasked
    for name in EXTENSIONS if bucket else EXTENSIONS[:-1]:
        try:
            connection.execute(f"load {extension(name)}")
        except duckdb.Error as error:
            raise NoLake(
                f"VPS_WAREHOUSE needs DuckDB's extension {name}: pip install '.[scale]' in the checkout"
            ) from error
    if bucket:
        connection.execute(f"create secret ({secret()})")


def attach(connection: duckdb.DuckDBPyConnection, lake: str, options: str) -> None:
    """Attach the lake.

    Raises:
        NoLake: it cannot be attached.
    """
    try:
        connection.execute(f"attach {quoted_text(lake)} as {CATALOGUE} ({options})")
    except duckdb.Error as error:
        what = one_line(error)
        if "DATA_PATH" in what:
            where = "where VPS_STORAGE, or VPS_HOME, said when it was made"
            raise NoLake(f"VPS_WAREHOUSE: this lake has its files elsewhere, {where}") from error
        raise NoLake(f"VPS_WAREHOUSE: the lake cannot be had; `vps init` makes it, once: …{what[-160:]}") from error


def extension(name: str) -> str:
    """What DuckDB's `load` takes: the file of the extension's wheel, else the name, which has to be installed."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = (found.submodule_search_locations if found else None) or []
    files = [file for folder in folders for file in Path(folder).rglob("*.duckdb_extension")]
    return quoted_text(str(files[0])) if files else name


def secret() -> str:
    """The credentials of the object storage, from AWS's usual variables."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    values = {
        "key_id": os.environ.get("AWS_ACCESS_KEY_ID"),
        "secret": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": os.environ.get("AWS_SESSION_TOKEN"),
        "region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "endpoint": endpoint.partition("://")[2].rstrip("/") or None,
        "url_style": "path" if endpoint else None,
    }
    parts = ["type s3", *(f"{name} {quoted_text(value)}" for name, value in values.items() if value)]
    return ", ".join([*parts, *(["use_ssl false"] if endpoint.startswith("http://") else [])])


def quoted_text(text: str) -> str:
    """Text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"
