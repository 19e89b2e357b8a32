"""The lake does what the file does, for several writers at once."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import REPOSITORY, vps
from prices import ROWS, X, Y, Z, with_prices
from sales import CLEAN, clean_written, corrected, sale, tables, with_the_sales

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.tables.partitions import WHOLE
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.erasure import erase_rows
from vps_assets.warehouse.file import WarehouseBusy
from vps_assets.warehouse.lake import Lake, NoLake
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.unchecked import Checks, Passed

pytestmark = pytest.mark.scale


def test_rows_and_fingerprint_are_replaced_in_one_transaction(lake_home: Home) -> None:
    warehouse = with_prices(lake_home)
    warehouse.replace("prices", ROWS.filter(pl.col("day") == 2), "day = ?", [2], {"2": Z})
    assert warehouse.read("prices").sort("low").equals(ROWS)
    assert warehouse.records().made == {"prices": {"1": X, "2": Z}}
    with pytest.raises(duckdb.Error):
        warehouse.replace("prices", ROWS.with_columns(low=pl.lit("oops")), "true", [], {"1": Z})
    assert warehouse.read("prices").sort("low").equals(ROWS)
    assert warehouse.records().made == {"prices": {"1": X, "2": Z}}


def test_what_does_not_fit_in_memory_goes_under_vps_home_and_not_where_the_process_was_started(lake_home: Home) -> None:
    with Warehouse(lake_home).connect(read_only=True) as connection:
        settings = "select current_setting('temp_directory'), current_setting('enable_progress_bar')"
        ((spills, bars),) = connection.execute(settings).fetchall()
    assert Path(spills).parent == lake_home.path and not bars


WRITER = """
import os, sys
from pathlib import Path
import polars as pl
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse.database import Warehouse
home, table, own = Home(Path(sys.argv[1]), sys.argv[2]), sys.argv[3], int(sys.argv[4])
for version in range(8):
    rows = pl.DataFrame({"day": [own] * 50, "version": [version] * 50})
    Warehouse(home).replace(table, rows, "day = ?", [own], {str(own): Fingerprint(f"{version}")})
"""


def test_writers_of_several_processes_lose_nothing_and_readers_see_whole_partitions(lake_home: Home) -> None:
    code = [sys.executable, "-c", WRITER, str(lake_home.path), lake_home.lake]
    writers = [subprocess.Popen([*code, table, str(day)], cwd=REPOSITORY) for table in ("a", "b") for day in (1, 2)]
    warehouse, seen = Warehouse(lake_home), 0
    while any(writer.poll() is None for writer in writers):
        for table in ("a", "b"):
            rows, records = warehouse.read_with_records(table)
            for day, versions in [] if rows is None else rows.group_by("day").agg(pl.col("version")).iter_rows():
                assert len(versions) == 50 and len(set(versions)) == 1, "a torn partition"
                assert records.made[table][str(day)].basis == str(versions[0]), "rows and fingerprint of two moments"
                seen += 1
    assert [writer.returncode for writer in writers] == [0] * 4
    assert seen > 20
    for table in ("a", "b"):
        assert warehouse.read(table).group_by("day").agg(pl.len(), pl.col("version").max()).sort("day").rows() == [
            (1, 50, 7),
            (2, 50, 7),
        ]
        assert {day: made.basis for day, made in warehouse.records().made[table].items()} == {"1": "7", "2": "7"}


def test_a_partition_that_two_make_for_the_first_time_is_there_once(lake_home: Home) -> None:
    """Neither finds a row to delete, so that DuckLake sees no conflict."""
    together = threading.Barrier(2)

    def write(by: str) -> None:
        warehouse = Warehouse(lake_home)
        for day in range(12):
            together.wait()
            rows = pl.DataFrame({"day": [day] * 20, "by": [by] * 20})
            warehouse.replace("twice", rows, "day = ?", [day], {str(day): Fingerprint(by)})

    with ThreadPoolExecutor(2) as writers:
        list(writers.map(write, "ab"))
    warehouse = Warehouse(lake_home)
    made = {day: fingerprint.basis for day, fingerprint in warehouse.records().made["twice"].items()}
    with warehouse.connect(read_only=True) as connection:
        noted = connection.execute("select partition, count(distinct number) from lineage.made group by all").fetchall()
    assert sorted(noted) == sorted((str(day), 2) for day in range(12)), "each write has a number of its own"
    assert {day: (20, {by}) for day, by in made.items()} == {
        str(day): (len(by), set(by)) for day, by in warehouse.read("twice").group_by("day").agg("by").iter_rows()
    }


def test_writers_of_different_tables_do_not_wait_for_each_other(
    lake_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they record of them is only added to: no transaction has to be done again."""
    attempts: list[int] = []
    attempt = Lake.attempt
    monkeypatch.setattr(Lake, "attempt", lambda *given: attempts.append(1) or attempt(*given))
    tables, together = ("a", "b", "c"), threading.Barrier(3)
    for table in tables:  # making a table is a conflict with making another
        Warehouse(lake_home).replace(table, ROWS, "true", [], {"1": X}, Checks("run", ("sound",)))
    Warehouse(lake_home).note_passed([Passed(table, "sound", "run", 0.0) for table in tables])
    attempts.clear()

    def write(table: str) -> None:
        warehouse = Warehouse(lake_home)
        for version in range(6):
            together.wait()
            made = {"1": Fingerprint(str(version))}
            warehouse.replace(table, ROWS, "true", [], made, Checks(f"{version}", ("sound",)))
            warehouse.note_passed([Passed(table, "sound", f"{version}", 0.0)])

    with ThreadPoolExecutor(len(tables)) as writers:
        list(writers.map(write, tables))
    assert len(attempts) == len(tables) * 6 * 2
    assert Warehouse(lake_home).unchecked() == {}
    assert {made["1"].basis for made in Warehouse(lake_home).records().made.values()} == {"5"}


def test_a_writer_waits_for_its_turn_for_so_long(lake_home: Home) -> None:
    warehouse = Warehouse(lake_home, lock_timeout_s=1.0)
    with Lake(lake_home).turn("prices"):
        warehouse.replace("others", ROWS, "true", [], {WHOLE: X})
        with pytest.raises(WarehouseBusy, match="prices was written by others for 1 s"):
            warehouse.replace("prices", ROWS, "true", [], {WHOLE: X})
    warehouse.replace("prices", ROWS, "true", [], {WHOLE: X})
    assert warehouse.read("prices").height == warehouse.read("others").height == 3


CUT = """
import sys
from pathlib import Path
import duckdb, polars as pl
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse import lake
from vps_assets.warehouse.database import Warehouse
warehouse = Warehouse(Home(Path(sys.argv[1]), sys.argv[2]))
def cut(connection):
    connection.execute("create table cut as select 1 as day")
    with lake.Lake(warehouse.home).connect(read_only=False) as other:
        own = "pid <> pg_backend_pid()"
        lake.ask(other, f"select count(pg_terminate_backend(pid)) from pg_locks where locktype = 'advisory' and {own}")
try:
    warehouse.transact(cut, "cut")
except duckdb.Error:
    print("an error")
print(warehouse.read("cut"))
"""


def test_a_writer_who_has_lost_his_turn_commits_nothing_and_has_an_error(lake_home: Home) -> None:
    """DuckDB would end the process, if the connection were closed with the transaction in it."""
    command = [sys.executable, "-c", CUT, str(lake_home.path), lake_home.lake]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.split()) == (0, ["an", "error", "None"]), ran.stderr


def test_the_files_of_records_are_merged_when_there_are_many(lake_home: Home) -> None:
    warehouse = Warehouse(lake_home)
    for number in range(6):
        made, checks = {str(number % 3): Fingerprint(str(number))}, Checks(f"{number}", ("sound",))
        warehouse.replace("prices", ROWS, "true", [], made, checks)
        warehouse.note_passed([Passed("prices", "sound", f"{number}", 0.0)])
    known = warehouse.known()
    Lake(lake_home).merge_records(most=100)
    counts = []
    for most in (100, 5):
        Lake(lake_home).merge_records(most)
        with warehouse.connect(read_only=True) as connection:
            files = "select sum(file_count)::int from ducklake_table_info('warehouse')"
            counts += connection.execute(f"{files} where table_name in ('made', 'passed')").fetchall()
    assert counts == [(12,), (2,)]
    assert warehouse.known() == known


def test_a_table_that_waits_for_a_check_stays_published_as_it_was(lake_home: Home) -> None:
    warehouse = with_prices(lake_home)
    assert publication_of(warehouse).newest() is None
    assert publication_of(warehouse).publish()
    first = publication_of(warehouse).newest()
    assert publication_of(warehouse).is_current() and not publication_of(warehouse).publish()
    warehouse.replace("prices", ROWS.head(1), "true", [], {WHOLE: Z}, Checks("run", ("sound",)))
    warehouse.replace("others", ROWS, "true", [], {WHOLE: Y})
    assert not publication_of(warehouse).is_current() and publication_of(warehouse).publish()
    assert publication_of(warehouse).newest() != first
    with open_analytics(lake_home) as analytics:
        assert analytics.connection.execute("select count(*) from prices").fetchall() == [(3,)]
        assert analytics.connection.execute("select count(*) from others").fetchall() == [(3,)]
    warehouse.note_passed([Passed("prices", "sound", "run", 0.0)])
    publication_of(warehouse).publish()
    with open_analytics(lake_home) as analytics:
        assert analytics.connection.execute("select count(*) from prices").fetchall() == [(1,)]


def test_an_analyst_attaches_the_lake_read_only(lake_home: Home) -> None:
    publication_of(with_prices(lake_home)).publish()
    with duckdb.connect() as analyst:
        from vps_assets.warehouse.lake import prepare

        prepare(analyst, "")
        analyst.execute(f"attach '{lake_home.lake}' as lake (read_only)")
        analyst.execute("use lake.published")
        assert analyst.execute("select count(*) from prices").fetchall() == [(3,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            analyst.execute("delete from lake.main.prices")


def files_with(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.parametrize("waits", [False, True])
def test_nothing_is_left_of_a_seller_who_is_forgotten(lake_home: Home, postgres: Path, waits: bool) -> None:
    """Neither in a data file, nor in an earlier snapshot, nor in what is published of a table that failed a check."""
    warehouse = Warehouse(lake_home)
    rows = pl.DataFrame({"listing_id": ["L1", "L2"], "seller_id": ["secret-seller", "another-seller"]})
    warehouse.replace("clean_listings", rows, "true", [], {WHOLE: X})
    publication_of(warehouse).publish()
    if waits:
        failed = Checks("run", ("sound",))
        warehouse.replace("clean_listings", rows.with_columns(note=pl.lit("new")), "true", [], {WHOLE: Y}, failed)
    assert files_with(lake_home.path, "secret-seller")
    erase_rows(warehouse, "secret-seller", ["L1"])
    publication_of(warehouse).erase("secret-seller", ["L1"])
    with open_analytics(lake_home) as analytics:
        assert analytics.connection.execute("select seller_id from clean_listings").fetchall() == [("another-seller",)]
    publication_of(warehouse).leave_no_trace("secret-seller", ["L1"])
    assert not files_with(lake_home.path, "secret-seller")
    assert files_with(lake_home.path, "another-seller")
    with open_analytics(lake_home) as analytics:
        assert analytics.connection.execute("select seller_id from clean_listings").fetchall() == [("another-seller",)]


def test_old_snapshots_are_forgotten_but_for_those_that_are_published(lake_home: Home) -> None:
    warehouse = with_prices(lake_home)
    assert publication_of(warehouse).forget(older_than_days=1) == 0
    publication_of(warehouse).publish()
    for _ in range(3):
        warehouse.replace("prices", ROWS, "true", [], {}, Checks("run", ("sound",)))
    assert publication_of(warehouse).forget(older_than_days=0) > 3
    with open_analytics(lake_home) as analytics:
        assert analytics.connection.execute("select count(*) from prices").fetchall() == [(3,)]
    assert warehouse.read("prices").height == 3


def test_statistics_are_corrected_as_in_the_file(lake_home: Home, tmp_path: Path) -> None:
    made = []
    for home in (lake_home, Home(tmp_path / "file")):
        warehouse = with_the_sales(Warehouse(home))
        clean_written(warehouse, pl.concat([CLEAN, sale("late", 1, 2, 70.0)]))
        done = corrected(warehouse)
        made.append((tables(warehouse), done, warehouse.records()))
    (here, did_here, recorded_here), (there, did_there, recorded_there) = made
    assert did_here == did_there
    assert recorded_here == recorded_there
    for history, rows in there.items():
        assert rows.height and here[history].sort(pl.all()).equals(rows.sort(pl.all())), history


def test_a_lake_that_nobody_has_made_is_an_error_that_says_so(postgres: Path, tmp_path: Path) -> None:
    missing = Home(tmp_path, f"ducklake:postgres:dbname=postgres host={postgres} user=postgres")
    with pytest.raises(NoLake, match="vps init"):
        Warehouse(missing).records()


@pytest.mark.parametrize("address", ["dbname=lake password=secret", "postgresql://vps:secret@pg/lake"])
def test_a_password_in_the_address_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VPS_WAREHOUSE", f"ducklake:postgres:{address}")
    with pytest.raises(WrongSetting, match="PGPASSFILE") as refused:
        Home.from_environment()
    assert "secret" not in str(refused.value)


def test_a_table_that_comes_to_wait_for_a_check_while_a_seller_is_forgotten_keeps_nothing_of_him(
    lake_home: Home,
) -> None:
    warehouse = Warehouse(lake_home)
    rows = pl.DataFrame({"listing_id": ["L1", "L2"], "seller_id": ["secret-seller", "another-seller"]})
    warehouse.replace("clean_listings", rows, "true", [], {WHOLE: X})
    publication_of(warehouse).publish()
    erase_rows(warehouse, "secret-seller", ["L1"])
    failed = Checks("run", ("sound",))  # another host's run writes before the erasure publishes
    warehouse.replace("clean_listings", rows.tail(1), "true", [], {WHOLE: Y}, failed)
    publication_of(warehouse).leave_no_trace("secret-seller", ["L1"])
    assert not files_with(lake_home.path, "secret-seller")


def test_vps_init_makes_the_lake_once(lake_home: Home) -> None:
    for _ in range(2):
        ran = vps("init", home=lake_home.path, VPS_WAREHOUSE=lake_home.lake)
        assert ran.returncode == 0, ran.stderr
        assert "the lake and its schemas" in ran.stdout


def test_a_lake_stays_where_it_was_made(lake_home: Home, bucket_address: str) -> None:
    ran = vps("init", home=lake_home.path, VPS_WAREHOUSE=lake_home.lake, VPS_STORAGE=bucket_address)
    assert ran.returncode == 1
    assert "has its files elsewhere" in ran.stderr and len(ran.stderr.splitlines()) == 1


def test_what_it_costs_is_measured(lake_address: str, bucket_address: str, tmp_path: Path) -> None:
    script = str(REPOSITORY / "benchmarks" / "scale.py")
    settings = {"VPS_HOME": str(tmp_path), "VPS_WAREHOUSE": lake_address, "VPS_STORAGE": bucket_address}
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | settings
    ran = subprocess.run([sys.executable, script, "--rows", "1000"], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]).keys() == {"tables", "photos"}
