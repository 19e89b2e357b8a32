import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, aligned, types
from vps_assets.warehouse.database import Warehouse, WarehouseBusy, current, log_of

ROWS = pl.DataFrame({"day": [1, 1, 2], "low": [1.0, 2.0, 3.0], "high": [4.0, 5.0, 6.0]})


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    made = Warehouse(home, lock_timeout_s=0.3)
    made.replace("prices", ROWS, "true", [], {"1": "x", "2": "y"})
    return made


def test_only_the_named_partition_is_replaced(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS.filter(pl.col("day") == 2), "day = ?", [2], {"2": "z"})
    assert warehouse.read("prices").height == 3
    assert warehouse.fingerprints() == {"prices": {"1": "x", "2": "z"}}


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


def test_a_frame_of_older_code_reads_with_the_columns_of_today_in_their_order() -> None:
    schema = TABLES["corruption_reports"]
    older = pl.DataFrame({"severity": [1], "gone": ["x"], "corruption": ["blur"]})
    assert aligned(older, schema).columns == list(types(schema))
    assert aligned(older, schema).select("corruption", "severity", "change").row(0) == ("blur", 1, None)
    assert aligned(pl.DataFrame(), schema).schema == pl.Schema(types(schema))


def test_a_failed_write_leaves_rows_and_fingerprints_as_they_were(warehouse: Warehouse) -> None:
    with pytest.raises(duckdb.Error):
        warehouse.replace("prices", ROWS.with_columns(low=pl.lit("oops")), "true", [], {"1": "new"})
    assert warehouse.read("prices").sort("low").equals(ROWS)
    assert warehouse.fingerprints() == {"prices": {"1": "x", "2": "y"}}


def test_a_forgotten_partition_has_no_fingerprint(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS, "true", [], {"1": None})
    assert warehouse.fingerprints() == {"prices": {"2": "y"}}


def test_a_missing_table_reads_as_none(warehouse: Warehouse) -> None:
    assert warehouse.read("nothing") is None


def test_the_published_copy_has_all_tables_and_is_renewed_only_when_stale(warehouse: Warehouse) -> None:
    assert warehouse.publish() is True
    assert warehouse.publish() is False
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from prices").fetchall() == [(3,)]
    warehouse.replace("prices", ROWS.clear(), "true", [], {})
    assert warehouse.publish() is True


def test_an_analyst_who_never_closes_neither_blocks_nor_is_blocked(warehouse: Warehouse) -> None:
    warehouse.publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as analyst:
        warehouse.replace("prices", ROWS.clear(), "true", [], {})
        warehouse.publish()
        assert analyst.execute("select count(*) from prices").fetchall() == [(3,)]
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as later:
        assert later.execute("select count(*) from prices").fetchall() == [(0,)]


def test_a_leftover_of_a_killed_publication_is_swept_away(warehouse: Warehouse) -> None:
    leftover = warehouse.home.path / ".analytics.dead.duckdb"
    leftover.write_text("half")
    warehouse.publish()
    assert not leftover.exists()


def held_by_another_process(path: Path) -> subprocess.Popen:
    code = f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_busy_warehouse_is_waited_for_and_then_said_who_holds_it(warehouse: Warehouse) -> None:
    holder = held_by_another_process(warehouse.home.warehouse)
    try:
        with pytest.raises(WarehouseBusy, match=str(holder.pid)):
            warehouse.read("prices")
    finally:
        holder.communicate(b"")
    assert warehouse.read("prices").height == 3


KILLED_AFTER_COMMIT = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("begin")
connection.execute("delete from prices where day = 1")
connection.execute("insert into prices values (1, 10), (1, 11), (1, 12)")
connection.execute("commit")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def killed_after_commit(home: Home) -> Warehouse:
    """A warehouse whose last writer was killed when its rows were in the log, and not in the file yet."""
    warehouse = Warehouse(home)
    rows = pl.DataFrame({"day": [1, 1, 1, 2], "price": [1, 2, 3, 4]})
    warehouse.replace("prices", rows, "true", [], {"": "f"})
    warehouse.publish()
    subprocess.run([sys.executable, "-c", KILLED_AFTER_COMMIT, str(home.warehouse)], check=False)
    assert log_of(home).exists()
    return warehouse


EXPECTED = [(1, 10), (1, 11), (1, 12), (2, 4)]


def test_what_a_killed_writer_had_committed_is_published(killed_after_commit: Warehouse) -> None:
    assert not current(killed_after_commit.home)
    assert killed_after_commit.publish()
    with duckdb.connect(str(killed_after_commit.home.analytics), read_only=True) as analyst:
        assert analyst.execute("from prices order by all").fetchall() == EXPECTED
    assert current(killed_after_commit.home)


def test_what_a_killed_writer_had_committed_outlives_a_rewrite(killed_after_commit: Warehouse) -> None:
    killed_after_commit.rewrite()
    assert sorted(killed_after_commit.read("prices").rows()) == EXPECTED
    assert sorted(killed_after_commit.read("prices").rows()) == EXPECTED
    assert not list(killed_after_commit.home.path.glob(".warehouse*"))


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
    warehouse.rewrite()
    assert log_of(home).read_bytes() == b"somebody else's"
