"""The analysts' published copy."""

import os
import shutil
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import duckdb
import polars as pl
import pytest
from prices import COMMITTED, ROWS, X, Y, Z, killed_after_commit, with_prices
from sales import with_the_sales

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Records
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, conforming
from vps_assets.warehouse import copy_publication, unchecked
from vps_assets.warehouse.copy_publication import published, write_copy
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import LostWarehouse
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.records import read_records
from vps_assets.warehouse.unchecked import Checks, Passed

CHECKED = Checks("r", ("schema",))


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    return with_prices(home)


def test_the_published_copy_has_all_tables_and_is_renewed_only_when_stale(warehouse: Warehouse) -> None:
    assert publication_of(warehouse).publish() is True
    assert publication_of(warehouse).publish() is False
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from prices").fetchall() == [(3,)]
    warehouse.replace("prices", ROWS.clear(), "true", [], {})
    assert publication_of(warehouse).publish() is True


def test_an_analyst_who_never_closes_neither_blocks_nor_is_blocked(warehouse: Warehouse) -> None:
    publication_of(warehouse).publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as analyst:
        warehouse.replace("prices", ROWS.clear(), "true", [], {})
        publication_of(warehouse).publish()
        assert analyst.execute("select count(*) from prices").fetchall() == [(3,)]
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as later:
        assert later.execute("select count(*) from prices").fetchall() == [(0,)]


def test_a_leftover_of_a_killed_publication_is_swept_away(warehouse: Warehouse) -> None:
    leftover = warehouse.home.path / ".analytics.dead.duckdb"
    leftover.write_text("half")
    publication_of(warehouse).publish()
    assert not leftover.exists()


@pytest.fixture
def killed_writer(home: Home) -> Warehouse:
    return killed_after_commit(home)


def test_what_a_killed_writer_had_committed_is_published(killed_writer: Warehouse) -> None:
    assert not publication_of(killed_writer).is_current()
    assert publication_of(killed_writer).publish()
    with duckdb.connect(str(killed_writer.home.analytics), read_only=True) as analyst:
        assert analyst.execute("from prices order by all").fetchall() == COMMITTED
    assert publication_of(killed_writer).is_current()


def test_what_is_committed_while_a_publication_begins_is_in_the_copy_if_its_writer_is_killed(
    killed_writer: Warehouse,
) -> None:
    write_copy(killed_writer.engine, killed_writer.home.analytics)
    with duckdb.connect(str(killed_writer.home.analytics), read_only=True) as analyst:
        assert analyst.execute("from prices order by all").fetchall() == COMMITTED
    assert [path.name for path in killed_writer.home.path.glob("*analytics*")] == ["analytics.duckdb"]


def test_only_tables_that_have_changed_are_copied(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse.replace("others", ROWS, "true", [], {"": Z})
    publication_of(warehouse).publish()
    warehouse.replace("prices", ROWS.with_columns(low=pl.lit(7.0)), "true", [], {"": Z})
    quoted, copied = copy_publication.in_quotes, []
    monkeypatch.setattr(copy_publication, "in_quotes", lambda name: copied.append(name) or quoted(name))
    publication_of(warehouse).publish()
    assert copied.count("main.others") == 1  # the warehouse's digest; that of the copy is known
    assert copied.count("main.prices") == 3  # and where from, and where to
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select min(low), max(low) from prices").fetchall() == [(7.0, 7.0)]
        assert connection.execute("select count(*) from others").fetchall() == [(ROWS.height,)]


@pytest.fixture
def big(home: Home) -> Warehouse:
    """A warehouse of a table of many blocks, published."""
    warehouse = Warehouse(home)
    warehouse.transact(lambda at: at.execute("create table big as select uuid()::varchar as u from range(200_000)"))
    publication_of(warehouse).publish()
    return warehouse


def test_a_table_of_the_copy_that_a_disk_has_damaged_is_copied_again(big: Warehouse) -> None:
    """By the next process: a disk damages without a new time of writing, and this one has just written the copy."""
    home = big.home
    written = home.analytics.stat().st_mtime_ns
    damage(home.analytics)
    os.utime(home.analytics, ns=(written, written))
    copy_publication.DIGESTS.clear()
    big.transact(lambda at: at.execute("create table other as select 1 as x"))
    publication_of(big).publish()
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        assert connection.execute("select count(distinct u) from big").fetchall() == [(200_000,)]
        assert connection.execute("select x from other").fetchall() == [(1,)]


def damage(file: Path) -> None:
    """Another bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_what_has_passed_waits_for_nothing_in_a_second_copy_of_this_process(warehouse: Warehouse) -> None:
    """As `vps forget` ends: a run publishes, and the tables' file is rewritten and published again."""
    warehouse.replace("others", ROWS, "true", [], {"1": X}, Checks("r", ("schema",)))
    warehouse.note_passed([Passed("others", "schema", "r", time.time() + 60)])
    copy = publication_of(warehouse)
    copy.publish()
    copy.leave_no_trace("nobody", [])
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert unchecked.read(connection) == {}


def test_what_this_process_has_published_is_not_read_again_to_publish_more(
    big: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    digest_of = copy_publication.digest_of

    def counted(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> str:
        read.append(f"{database}.{name}")
        return digest_of(connection, database, name)

    monkeypatch.setattr(copy_publication, "digest_of", counted)
    big.transact(lambda at: at.execute("create table other as select 1 as x"))
    publication_of(big).publish()
    big.transact(lambda at: at.execute("update big set u = 'a' where rowid < 3"))
    publication_of(big).publish()
    assert read.count("warehouse.main.big") == 2, "nothing is published of a warehouse that is damaged"
    assert not [name for name in read if name.startswith("published.main")]
    with duckdb.connect(str(big.home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from big where u = 'a'").fetchall() == [(3,)]
    os.utime(big.home.analytics)  # somebody else has put a copy there
    big.transact(lambda at: at.execute("create table third as select 1 as x"))
    publication_of(big).publish()
    assert "published.main.big" in read


def test_a_table_that_is_no_more_is_no_more_in_the_copy(warehouse: Warehouse) -> None:
    warehouse.replace("others", ROWS, "true", [], {"": Z})
    publication_of(warehouse).publish()
    warehouse.transact(lambda connection: connection.execute("drop table others"))
    publication_of(warehouse).publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select table_name from duckdb_tables() where table_name = 'others'").fetchall() == []


def test_nothing_is_published_of_a_warehouse_that_a_disk_has_damaged(big: Warehouse) -> None:
    """Although the run wrote another table: the copy is what such a warehouse is restored from."""
    home = big.home
    damage(home.warehouse)
    big.transact(lambda at: at.execute("create table other as select 1 as x"))
    with pytest.raises(duckdb.Error, match="[Cc]orrupt|checksum"):
        publication_of(big).publish()
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        assert connection.execute("select count(distinct u) from big").fetchall() == [(200_000,)]
    assert [path.name for path in home.path.glob(".analytics*")] == []


def test_no_byte_of_a_row_that_waits_is_in_the_copy(warehouse: Warehouse) -> None:
    publication_of(warehouse).publish()
    secrets = [str(uuid.uuid4()) for _ in range(500)]
    rows = pl.concat([ROWS.head(1)] * len(secrets)).with_columns(said=pl.Series(secrets))
    warehouse.replace("prices", rows, "true", [], {"1": Z}, CHECKED)
    publication_of(warehouse).publish()
    assert not told(secrets, warehouse.home)
    warehouse.note_passed([Passed("prices", "schema", "r", 0.0)])
    publication_of(warehouse).publish()
    assert told(secrets, warehouse.home)


def told(secrets: list[str], home: Home) -> bool:
    """Whether the bytes of the copy have any of them."""
    content = home.analytics.read_bytes()
    return any(secret.encode() in content for secret in secrets)


def test_nobody_writes_while_a_copy_is_made(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    publication_of(warehouse).publish()
    warehouse.replace("prices", ROWS.clear(), "true", [], {"": Z})
    digest_of, tried = copy_publication.digest_of, []

    def meanwhile(connection: duckdb.DuckDBPyConnection, database: str, name: str) -> str:
        write = (
            f"import duckdb; duckdb.connect({str(warehouse.home.warehouse)!r}).execute('create table x as select 1')"
        )
        tried.append(subprocess.run([sys.executable, "-c", write], capture_output=True, text=True).stderr)
        return digest_of(connection, database, name)

    monkeypatch.setattr(copy_publication, "digest_of", meanwhile)
    assert publication_of(warehouse).publish()
    assert tried
    assert all("Could not set lock" in error for error in tried)


def test_the_published_copy_opens_with_the_state_beside_the_tables(home: Home) -> None:
    warehouse = with_the_sales(Warehouse(home))
    publication_of(warehouse).publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select sum(sales) from state.seller_statistics").fetchall() == [(4,)]


def test_a_table_that_waits_for_its_check_stays_in_the_copy_as_it_was(warehouse: Warehouse) -> None:
    """With what is recorded of it, so that a warehouse restored from the copy makes it again."""
    publication_of(warehouse).publish()
    before = Records({"prices": {"1": X, "2": Y}})
    wrong = ROWS.with_columns(low=pl.lit(-1.0))
    warehouse.replace("prices", wrong, "true", [], {"1": Z}, CHECKED)
    warehouse.replace("others", ROWS, "true", [], {"": Z}, CHECKED)
    warehouse.note_passed([Passed("others", "schema", "r", 0.0)])
    assert publication_of(warehouse).publish()
    assert publication_of(warehouse).is_current()
    assert published(warehouse.home)[1] == ["prices"]
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select min(low) from prices").fetchall() == [(1.0,)]
        assert connection.execute("select count(*) from others").fetchall() == [(3,)]
        assert read_records(connection, ["prices"]) == before
        assert unchecked.read(connection) == {}
    warehouse.note_passed([Passed("prices", "schema", "r", 0.0)])
    assert publication_of(warehouse).publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select min(low) from prices").fetchall() == [(-1.0,)]
        assert read_records(connection, ["prices"]) == Records({"prices": {"1": Z, "2": Y}})


def test_a_table_is_withheld_while_an_analyst_has_the_copy_open(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS, "true", [], {"1": X})
    publication_of(warehouse).publish()
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(warehouse.home.analytics)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as analyst:
        assert analyst.stdout is not None and analyst.stdout.readline() == "held\n"
        warehouse.replace("prices", ROWS.head(1), "true", [], {"1": Y}, CHECKED)
        assert publication_of(warehouse).publish()
        analyst.kill()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from prices").fetchall() == [(ROWS.height,)]


def test_a_table_that_never_passed_is_not_published(warehouse: Warehouse) -> None:
    warehouse.replace("prices", ROWS, "true", [], {"1": X}, CHECKED)
    warehouse.replace("others", ROWS, "true", [], {"": Z})
    publication_of(warehouse).publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select table_name from duckdb_tables() where schema_name = 'main'").fetchall() == [
            ("others",)
        ]


def test_a_statistics_table_that_waits_keeps_its_state_too(home: Home) -> None:
    warehouse = with_the_sales(Warehouse(home))
    publication_of(warehouse).publish()
    with warehouse.connect(read_only=False) as connection:
        connection.execute("update seller_statistics set median = 0")
        connection.execute("delete from state.seller_statistics")
        unchecked.add(connection, "seller_statistics", [""], CHECKED)
    publication_of(warehouse).publish()
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        assert connection.execute("select count(*) from seller_statistics where median = 0").fetchall() == [(0,)]
        assert connection.execute("select count(*) > 0 from state.seller_statistics").fetchall() == [(True,)]


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_where_only_the_copy_is_left_nobody_writes_and_it_is_not_replaced(warehouse: Warehouse, left: str) -> None:
    publication_of(warehouse).publish()
    home, copy = warehouse.home, warehouse.home.analytics.read_bytes()
    home.warehouse.unlink()
    if left == "an empty file":
        home.warehouse.touch()
    for write in (publication_of(warehouse).publish, lambda: warehouse.replace("prices", ROWS, "true", [], {})):
        with pytest.raises(LostWarehouse, match=f"cp {home.analytics} {home.warehouse}"):
            write()
    assert home.analytics.read_bytes() == copy
    shutil.copyfile(home.analytics, home.warehouse)  # as the message says
    assert publication_of(warehouse).publish()
    assert warehouse.read("prices").height == 3


def test_whether_the_copy_is_current_does_not_depend_on_the_files_times(warehouse: Warehouse) -> None:
    publication_of(warehouse).publish()
    os.utime(warehouse.home.warehouse, (0, 0))
    assert publication_of(warehouse).is_current()
    stamp = warehouse.home.analytics.stat()
    warehouse.replace("prices", ROWS, "true", [], {})
    os.utime(warehouse.home.warehouse, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not publication_of(warehouse).is_current()


def test_who_may_read_the_copy_stays_as_an_operator_has_set_it(warehouse: Warehouse) -> None:
    publication_of(warehouse).publish()
    warehouse.home.analytics.chmod(0o640)
    warehouse.replace("prices", ROWS.clear(), "true", [], {})
    publication_of(warehouse).publish()
    assert stat.S_IMODE(warehouse.home.analytics.stat().st_mode) == 0o640


def test_a_check_clears_what_its_run_wrote_and_one_of_all_dates_what_was_written_before_it(home: Home) -> None:
    warehouse, now = Warehouse(home), time.time()
    names = ("schema", "listing_is_on_one_date")
    for run, day in (("r1", "1"), ("r2", "2")):
        warehouse.replace("clean_listings", ROWS, "false", [], {day: X}, Checks(run, names))
    warehouse.note_passed([Passed("clean_listings", "schema", "r2", now + 60)])
    assert warehouse.unchecked() == {"clean_listings": {"1", "2"}}
    warehouse.note_passed([Passed("clean_listings", "listing_is_on_one_date", "r3", now - 60)])
    assert warehouse.unchecked() == {"clean_listings": {"1", "2"}}
    warehouse.note_passed([Passed("clean_listings", "listing_is_on_one_date", "r3", now + 60)])
    assert warehouse.unchecked() == {"clean_listings": {"1"}}
    warehouse.note_passed([Passed("clean_listings", "schema", "r1", now)])
    assert warehouse.unchecked() == {}


def test_a_log_that_outlived_its_warehouse_is_never_applied_to_the_copy(home: Home) -> None:
    """DuckDB would apply it by row numbers: other rows would go, and the copy's would come twice."""
    warehouse = killed_after_commit(home)
    home.warehouse.unlink()
    with pytest.raises(LostWarehouse):
        warehouse.refuse_if_lost()
    shutil.copyfile(home.analytics, home.warehouse)  # as the message says
    assert sorted(warehouse.read("prices").rows()) == [(1, 1), (1, 2), (1, 3), (2, 4)]


def test_every_published_table_and_column_says_what_it_is(home: Home) -> None:
    """Also after an update, and after an erasure has written the copy again."""
    warehouse = Warehouse(home)
    for name, schema in TABLES.items():
        warehouse.replace(name, conforming(pl.DataFrame(), schema), "true", [], {})
    copy = publication_of(warehouse)
    for renew in (copy.publish, copy.publish, lambda: copy.erase("nobody", [])):
        warehouse.replace("prices", ROWS, "true", [], {WHOLE: X})
        renew()
        with duckdb.connect(str(home.analytics), read_only=True) as analyst:
            told = "select table_name, count(*), count(comment) from duckdb_columns() group by all"
            counts = {name: (columns, comments) for name, columns, comments in analyst.execute(told).fetchall()}
            assert {counts[name] for name in TABLES} == {(len(s.columns), len(s.columns)) for s in TABLES.values()}
            silent = "select table_name from duckdb_tables() where schema_name = 'main' and comment is null"
            assert analyst.execute(silent).fetchall() == [("prices",)], "which is no table of the lineage"
