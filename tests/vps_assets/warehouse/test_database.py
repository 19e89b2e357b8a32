"""The working tables: replaced in one transaction, and waited for."""

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest
from prices import COMMITTED, ROWS, X, Y, Z, killed_after_commit, with_prices

from vps_assets.home import Home
from vps_assets.tables.partitions import WHOLE
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import KEPT, File, WarehouseBusy, beside, log_of, roll_back
from vps_assets.warehouse.publication import publication_of


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    return with_prices(home)


def test_only_the_named_partition_is_replaced(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS.filter(pl.col("day") == 2), "day = ?", [2], {"2": Z})
    assert warehouse.read("prices").height == 3
    assert warehouse.records().made == {"prices": {"1": X, "2": Z}}


def test_columns_are_matched_by_name_not_by_position(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS.select("high", "day", "low"), "true", [], {})
    assert warehouse.read("prices").sort("low")["low"].to_list() == [1.0, 2.0, 3.0]


def test_a_table_of_older_code_takes_the_columns_of_today(warehouse: Warehouse) -> None:
    width, centre = pl.col("high") - pl.col("low"), (pl.col("high") + pl.col("low")) / 2
    today = ROWS.filter(pl.col("day") == 2).select("day", "low", width=width, centre=centre)
    warehouse.replace("prices", today, "day = ?", [2], {})
    rows = warehouse.read("prices").sort("low")
    assert rows.columns == ["day", "low", "width", "centre"]
    assert rows.select("width", "centre").rows() == [(None, None), (None, None), (3.0, 4.5)]


def test_a_failed_write_leaves_rows_and_fingerprints_as_they_were(warehouse: Warehouse) -> None:
    with pytest.raises(duckdb.Error):
        warehouse.replace("prices", ROWS.with_columns(low=pl.lit("oops")), "true", [], {"1": Z})
    assert warehouse.read("prices").sort("low").equals(ROWS)
    assert warehouse.records().made == {"prices": {"1": X, "2": Y}}


def test_a_forgotten_partition_has_no_fingerprint(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS, "true", [], {"1": None})
    assert warehouse.records().made == {"prices": {"2": Y}}


def test_a_missing_table_reads_as_none(warehouse: Warehouse) -> None:
    assert warehouse.read("nothing") is None


def held_by_another_process(path: Path) -> subprocess.Popen:
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_busy_warehouse_is_waited_for_and_the_error_names_who_holds_it(warehouse: Warehouse) -> None:
    holder = held_by_another_process(warehouse.home.warehouse)
    try:
        with pytest.raises(WarehouseBusy, match=str(holder.pid)):
            warehouse.read("prices")
    finally:
        holder.communicate(b"")
    assert warehouse.read("prices").height == 3


@pytest.fixture
def killed_writer(home: Home) -> Warehouse:
    return killed_after_commit(home)


def test_what_a_killed_writer_had_committed_outlives_a_rewrite(killed_writer: Warehouse) -> None:
    killed_writer.engine.rewrite()
    assert sorted(killed_writer.read("prices").rows()) == COMMITTED
    assert sorted(killed_writer.read("prices").rows()) == COMMITTED
    assert not list(killed_writer.home.path.glob(".warehouse*"))


def test_the_log_of_a_writer_that_comes_right_after_a_rewrite_is_left_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(home)
    warehouse.replace("prices", pl.DataFrame({"price": [1]}), "true", [], {})
    replaced = Path.replace

    def and_a_writer_comes(self: Path, target: Path) -> Path:
        replaced(self, target)
        log_of(home).write_bytes(b"somebody else's")
        return target

    monkeypatch.setattr(Path, "replace", and_a_writer_comes)
    warehouse.engine.rewrite()
    assert log_of(home).read_bytes() == b"somebody else's"


def test_a_warehouse_that_was_rewritten_has_the_same_tables_and_no_deleted_row_in_its_file(home: Home) -> None:
    warehouse, secret = Warehouse(home), "anns-secret-listing-title"
    rows = pl.DataFrame({"listing_id": [f"{secret}-{n}" for n in range(5000)], "seller": "ann"})
    warehouse.replace("raw_listings", rows, "true", [], {WHOLE: X})
    warehouse.replace("raw_listings", pl.DataFrame({"listing_id": ["b"], "seller": ["bob"]}), "true", [], {WHOLE: Y})
    warehouse.engine.rewrite()
    assert secret.encode() not in home.warehouse.read_bytes()
    assert warehouse.read("raw_listings").rows() == [("b", "bob")]
    assert warehouse.records().made == {"raw_listings": {WHOLE: Y}}
    publication_of(warehouse).publish()
    assert secret.encode() not in home.analytics.read_bytes()


def test_a_thread_that_writes_waits_for_one_that_reads_and_no_reader_for_another(tmp_path: Path) -> None:
    """One process has one lock on a file: without this the two would share it."""
    file = File(Home(tmp_path), lock_timeout_s=0.2)
    with file.connect(read_only=False) as connection:
        connection.execute("create table x as select 1 as y")
    with file.connect(read_only=True), file.connect(read_only=True) as second:
        assert second.execute("from x").fetchall() == [(1,)]
        with pytest.raises(WarehouseBusy, match=f"process {os.getpid()} has .*warehouse.duckdb open in another thread"):
            file.transact(lambda connection: connection.execute("insert into x values (2)"))
    file.transact(lambda connection: connection.execute("insert into x values (2)"))
    with file.connect(read_only=True) as connection:
        assert connection.execute("select sum(y) from x").fetchall() == [(3,)]


@pytest.mark.parametrize("read_only", [True, False])
def test_between_two_connections_a_process_does_not_hold_the_file(tmp_path: Path, read_only: bool) -> None:
    file = File(Home(tmp_path))
    other = f"import duckdb; duckdb.connect({str(file.home.warehouse)!r}).execute('insert into x values (1)')"
    file.transact(lambda connection: connection.execute("create table x (y integer)"))
    for count in (0, 1):
        with file.connect(read_only=read_only) as connection:
            assert connection.execute("select count(*) from x").fetchall() == [(count,)]
        assert not log_of(file.home).exists()
        subprocess.run([sys.executable, "-c", other], check=True)


def test_what_fails_leaves_no_transaction_and_no_other_file_attached(tmp_path: Path) -> None:
    file = File(Home(tmp_path))
    file.transact(lambda connection: connection.execute("create table x (y integer)"))
    for _ in range(2):
        with (
            pytest.raises(ZeroDivisionError),
            file.connect(read_only=False) as connection,
            beside(connection, tmp_path / "other.duckdb", "other"),
        ):
            connection.execute("use other")
            connection.execute("begin")
            connection.execute("insert into warehouse.x values (1)")
            raise ZeroDivisionError
    with file.connect(read_only=True) as connection:
        assert connection.execute("from x").fetchall() == []
        assert connection.execute("select current_catalog()").fetchall() == [("warehouse",)]


@pytest.mark.parametrize("asked", ["", "file.transact(lambda c: c.execute('from x').fetchall())"])
def test_a_forked_process_ends_well_and_can_read(tmp_path: Path, asked: str) -> None:
    """To close its parent's DuckDB it would wait for threads that it does not have."""
    script = f"""
import os, sys
from pathlib import Path
from vps_assets.home import Home
from vps_assets.warehouse.file import File
file = File(Home(Path({str(tmp_path)!r})))
file.transact(lambda connection: connection.execute("create table if not exists x as select 1 as y"))
child = os.fork()
if child == 0:
    {asked}
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0


def test_a_process_that_opens_many_warehouses_keeps_those_in_use(tmp_path: Path) -> None:
    first = File(Home(tmp_path / "0"))
    with first.connect(read_only=False) as connection:
        connection.execute("create table x as select 1 as y")
        for number in range(1, 5):
            File(Home(tmp_path / str(number))).transact(lambda other: other.execute("create table x as select 1 as y"))
        with first.connect(read_only=False) as second:
            assert second.execute("from x").fetchall() == [(1,)]


def test_an_interruption_at_any_moment_leaves_the_process_able_to_go_on(tmp_path: Path) -> None:
    file = File(Home(tmp_path), lock_timeout_s=0.5)
    file.transact(lambda connection: connection.execute("create table x (y integer)"))
    for moment in ("attach", "use", "detach"):
        attached = KEPT[str(file.home.warehouse)]
        attached.database = Interrupted(attached.database, moment)  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            file.transact(lambda connection: connection.execute("insert into x values (1)"))
        gc.collect()
        file.transact(lambda connection: connection.execute("insert into x values (1)"))
        with file.connect(read_only=True) as connection:
            assert connection.execute("select count(*) > 0 from x").fetchall() == [(True,)]


@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize(
    "many",
    [
        "insert into x from range(20_000_000)",
        "select sum(a.range * b.range) from range(9_999_999) a, range(9_999_999) b",
    ],
)
@pytest.mark.usefixtures("_signals_are_heard")
def test_what_a_signal_interrupts_gives_the_file_up(tmp_path: Path, transaction: bool, many: str) -> None:
    """DuckDB raises an error of its own then, keeps a closed connection's transaction, and goes on with a query."""
    file = File(Home(tmp_path), lock_timeout_s=0.5)
    file.transact(lambda connection: connection.execute("create table x (y bigint)"))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises((RuntimeError, KeyboardInterrupt)), file.connect(read_only=False) as connection:
        if transaction:
            connection.execute("begin")
        timer.start()
        for _ in range(100):
            connection.execute(many)
    with file.connect(read_only=True) as connection:
        assert connection.execute("select count(*) % 20_000_000 from x").fetchall() == [(0,)]


def test_a_second_signal_while_what_the_first_has_interrupted_is_undone_is_not_lost() -> None:
    connection = SignalledAgain()
    with pytest.raises(RuntimeError, match="Query interrupted"):
        roll_back(connection)  # type: ignore[arg-type]
    assert connection.undone


class SignalledAgain:
    """A connection that a signal interrupts as it is rolled back for the first time."""

    def __init__(self) -> None:
        self.asked, self.undone = 0, False

    def interrupt(self) -> None: ...

    def rollback(self) -> None:
        self.asked += 1
        if self.asked == 1:
            raise RuntimeError("Query interrupted")
        self.undone = True


def test_a_connection_that_was_closed_within_its_block_is_closed(tmp_path: Path) -> None:
    file = File(Home(tmp_path))
    file.transact(lambda connection: connection.execute("create table x (y bigint)"))
    with file.connect(read_only=True), file.connect(read_only=True) as connection:
        connection.close()
    file.transact(lambda connection: connection.execute("insert into x values (1)"))


class Interrupted:
    """A connection that is interrupted once it has executed what begins so."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, moment: str) -> None:
        self.connection, self.moment = connection, moment

    def execute(self, query: str) -> duckdb.DuckDBPyConnection:
        found = self.connection.execute(query)
        if query.startswith(self.moment):
            raise KeyboardInterrupt
        return found

    def cursor(self) -> object:
        cursor = self.connection.cursor()
        return Interrupted(cursor, self.moment) if self.moment == "use" else cursor

    def interrupt(self) -> None:
        self.connection.interrupt()

    def rollback(self) -> None:
        self.connection.rollback()

    def close(self) -> None:
        self.connection.close()
