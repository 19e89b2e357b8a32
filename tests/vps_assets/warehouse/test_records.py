"""What the warehouse records of its tables, also one of version 0.1, which had a fingerprint as one text."""

import time

import duckdb
import polars as pl
import pytest
from prices import X, Z

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Records, cumulative
from vps_assets.lineage.graph import OF_ALL_DATES
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.records import forget, made_columns
from vps_assets.warehouse.unchecked import Checks, Passed

OLD = """
create schema lineage;
create table lineage.made (asset text, partition text, fingerprint text, made_at timestamptz);
insert into lineage.made values
    ('raw_listings', '2024-01-01', 'r', '2024-01-03T00:00:00Z'),
    ('champion_model', '', 'b:120:c', '2024-01-03T00:00:00Z'),
    ('seller_statistics', '', 's', '2024-01-04T00:00:00Z'),
    ('seller_statistics as of', '2024-01-03', '2', '2024-01-04T00:00:00Z'),
    ('seller_statistics as of', '2024-01-02', '1', '2024-01-04T00:00:00Z');
"""
CONVERTED = Records(
    {
        "raw_listings": {"2024-01-01": Fingerprint("r")},
        "champion_model": {"": Fingerprint("b", 120, "c")},
        "seller_statistics": {"": Fingerprint("s")},
    },
    {"seller_statistics": cumulative([("2024-01-02", "1"), ("2024-01-03", "2")])},
)


@pytest.fixture
def old(home: Home) -> Warehouse:
    """A warehouse of version 0.1."""
    home.path.mkdir(parents=True)
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(OLD)
    return Warehouse(home)


def test_a_warehouse_that_is_new_has_no_records(home: Home) -> None:
    assert Warehouse(home).records() == Records()
    assert Warehouse(home).made_at() == {}


def test_an_old_warehouse_is_read_as_it_is(old: Warehouse) -> None:
    assert old.records() == CONVERTED
    assert old.read_with_records("seller_statistics")[1] == Records(
        {"seller_statistics": CONVERTED.made["seller_statistics"]}, CONVERTED.as_of
    )
    with old.connect(read_only=True) as connection:
        assert "fingerprint" in made_columns(connection)


def test_the_next_write_converts_an_old_warehouse_and_leaves_the_other_records_as_they_were(old: Warehouse) -> None:
    made_at = old.made_at()
    old.replace("prices", pl.DataFrame({"day": [1, 2]}), "true", [], {"1": X, "2": Z})
    assert old.records() == CONVERTED.updated(Records({"prices": {"1": X, "2": Z}}))
    assert {asset: at for asset, at in old.made_at().items() if asset in CONVERTED.made} == {
        asset: at for asset, at in made_at.items() if asset in CONVERTED.made
    }
    with old.connect(read_only=True) as connection:
        assert made_columns(connection) == {"asset", "partition", "basis", "sales", "content", "made_at", "number"}


def test_a_write_that_fails_leaves_an_old_warehouse_old(old: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vps_assets.warehouse.records.writes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        old.replace("prices", pl.DataFrame({"day": [1]}), "true", [], {"1": X})
    assert old.records() == CONVERTED
    with old.connect(read_only=True) as connection:
        assert "fingerprint" in made_columns(connection)


def test_a_partition_that_the_code_no_longer_has_is_not_read(home: Home) -> None:
    """A task that was taken out: otherwise its row would be out of date for ever, with no partition to make it in."""
    warehouse, made = Warehouse(home), {"category": X, "material": Z}
    rows = pl.DataFrame({"task": ["category", "material"]})
    warehouse.replace("task_backbones", rows, "true", [], made)
    assert warehouse.records().made == {"task_backbones": {"category": X}}


UNNUMBERED = """
create schema lineage;
create table lineage.made (
    asset text, partition text, basis text, sales bigint, content text, made_at timestamptz
);
insert into lineage.made values
    ('raw_listings', '2024-01-01', 'r', null, null, '2024-01-03T00:00:00Z'),
    ('prices', '1', 'old', 3, 'content', '2024-01-03T00:00:00Z');
create table lineage.digests (asset text, as_of text, digest text);
create table lineage.unchecked (asset text, partition text, check_name text, run_id text, written_at timestamptz);
insert into lineage.unchecked values
    ('prices', '1', 'schema', 'r', '2024-01-03T00:00:00Z'), ('raw_listings', '2024-01-01', 'schema', 'r', now()),
    ('others', '', 'schema', 'r', now());
"""


def test_a_warehouse_with_a_row_for_each_partition_is_read_and_added_to(home: Home) -> None:
    home.path.mkdir(parents=True)
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute(UNNUMBERED)
    warehouse = Warehouse(home)
    raw = {"2024-01-01": Fingerprint("r")}
    assert warehouse.records().made == {"raw_listings": raw, "prices": {"1": Fingerprint("old", 3, "content")}}
    others = {"others": {""}}  # its fingerprint was removed while it waited
    assert warehouse.unchecked() == {"prices": {"1"}, "raw_listings": {"2024-01-01"}} | others
    warehouse.replace("prices", pl.DataFrame({"day": [1]}), "true", [], {"1": X}, Checks("s", ("schema",)))
    warehouse.note_passed([Passed("raw_listings", "schema", "r", 0.0)])
    assert warehouse.records().made == {"raw_listings": raw, "prices": {"1": X}}
    assert warehouse.unchecked() == {"prices": {"1"}} | others
    warehouse.forget_superseded(0)
    warehouse.note_passed([Passed("prices", "schema", "s", 0.0)])
    assert warehouse.unchecked() == others


def test_a_check_that_passed_says_nothing_of_what_was_written_after_it(home: Home) -> None:
    warehouse, rows, checks = Warehouse(home), pl.DataFrame({"day": [1]}), Checks("run", ("schema",))
    warehouse.replace("prices", rows, "true", [], {"1": X}, checks)
    warehouse.note_passed([Passed("prices", "schema", "run", 0.0)])
    assert warehouse.unchecked() == {}
    warehouse.replace("prices", rows, "true", [], {"1": Z}, checks)
    assert warehouse.unchecked() == {"prices": {"1"}}


def test_what_is_committed_after_a_check_of_all_dates_was_noted_waits(home: Home) -> None:
    """Its transaction began before the check did; another host's check cannot have seen it."""
    warehouse, rows, checks = Warehouse(home), pl.DataFrame({"day": [1, 2]}), Checks("late", (OF_ALL_DATES[0],))
    warehouse.replace("prices", rows, "true", [], {"1": X}, Checks("early", (OF_ALL_DATES[0],)))
    began = time.time() + 60
    warehouse.note_passed([Passed("prices", OF_ALL_DATES[0], "other", began)])
    assert warehouse.unchecked() == {}
    warehouse.replace("prices", rows, "true", [], {"2": X}, checks)
    assert warehouse.unchecked() == {"prices": {"2"}}


def test_a_partition_that_is_forgotten_waits_on(home: Home) -> None:
    warehouse, rows = Warehouse(home), pl.DataFrame({"day": [1]})
    warehouse.replace("prices", rows, "true", [], {"1": X}, Checks("run", ("schema",)))
    warehouse.transact(lambda connection: forget(connection, "prices", ["1"]), "prices")
    assert warehouse.records().made.get("prices", {}) == {}
    assert warehouse.unchecked() == {"prices": {"1"}}
    warehouse.replace("prices", rows, "true", [], {"1": X})
    assert warehouse.unchecked() == {}, "written again, with no check to pass"


def test_records_are_added_until_the_older_ones_are_forgotten(home: Home) -> None:
    warehouse, rows = Warehouse(home), pl.DataFrame({"day": [1, 2]})
    for fingerprint in (X, Z, X):
        warehouse.replace("prices", rows, "true", [], {"1": fingerprint, "2": Z}, Checks("run", ("schema",)))
    warehouse.replace("prices", rows, "true", [], {"2": None, "3": Z})
    warehouse.replace("others", rows, "true", [], {"": X}, Checks("run", ("schema",)))
    warehouse.note_passed([Passed("others", "schema", "run", 0.0)])
    records, made_at = warehouse.records(), warehouse.made_at()
    assert records.made == {"prices": {"1": X, "3": Z}, "others": {"": X}}
    assert warehouse.unchecked() == {"prices": {"1"}}
    counts = "select (select count(*) from lineage.made), (select count(*) from lineage.unchecked)"
    for most, kept in ((100, (9, 9)), (0, (4, 1))):
        warehouse.forget_superseded(most)
        with warehouse.connect(read_only=True) as connection:
            assert connection.execute(counts).fetchall() == [kept]
        assert (warehouse.records(), warehouse.made_at()) == (records, made_at)
        assert warehouse.unchecked() == {"prices": {"1"}}
    warehouse.replace("prices", rows, "true", [], {"1": Z})
    assert warehouse.records().made["prices"] == {"1": Z, "3": Z}
