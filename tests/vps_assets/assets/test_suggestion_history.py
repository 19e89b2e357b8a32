"""Every suggestion that was made stays, whatever becomes of the listing, the model or the run."""

from datetime import UTC, date, datetime, timedelta
from math import log

import duckdb
import polars as pl
import pytest

from vps_assets.assets.suggestion_history import CHANGES, gained, lost, secure, with_suggestions
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.tables.schemas import TABLES, aligned, conforming
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.erasure import Said, erase_rows, erase_said
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.unchecked import Checks

NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
DAY = "2024-01-02"


def said(listing: str, model: str, price: float | None, at: datetime = NOON, inputs: str = "photo") -> pl.DataFrame:
    row = {
        "listing_id": listing, "listed_on": date(2024, 1, 2), "suggested_price": price,
        "low": price and price * 0.8, "high": price and price * 1.25, "qualification": 0.8 if price else 0.2,
        "qualified": price is not None, "inputs": inputs, "reason": None if price else "blurred", "model_id": model,
        "suggested_at": at,
    }  # fmt: skip
    return conforming(aligned(pl.DataFrame([row]), TABLES["price_suggestions"]), TABLES["price_suggestions"])


def empty() -> pl.DataFrame:
    return aligned(pl.DataFrame(), TABLES["suggestion_history"])


def test_a_day_keeps_the_newest_of_each_model_and_earlier_days_never_change() -> None:
    monday = with_suggestions(empty(), said("L1", "a", 10.0))
    again = with_suggestions(monday, said("L1", "a", 11.0, NOON + timedelta(hours=1)))
    assert again["suggested_price"].to_list() == [11.0]
    other = with_suggestions(again, said("L1", "b", 12.0, NOON + timedelta(hours=2)))
    tuesday = with_suggestions(other, said("L1", "a", 13.0, NOON + timedelta(days=1)))
    assert tuesday["suggested_price"].to_list() == [11.0, 12.0, 13.0]
    assert with_suggestions(tuesday, said("L2", "a", 1.0).clear()).equals(tuesday), "it has sold, and stays"
    assert with_suggestions(tuesday, said("L1", "a", 13.0, NOON + timedelta(days=1))).equals(tuesday)
    conforming(tuesday, TABLES["suggestion_history"])


def test_what_a_killed_run_did_not_get_into_the_history_is_kept_before_it_is_replaced(home: Home) -> None:
    warehouse = Warehouse(home)
    secure(warehouse, DAY, DAY)
    assert warehouse.read("suggestion_history") is None, "nothing was said"
    warehouse.replace("price_suggestions", said("L1", "a", 10.0), "true", [], {})
    secure(warehouse, "2024-01-03", "2024-01-09")
    assert warehouse.read("suggestion_history") is None, "of other dates"
    secure(warehouse, DAY, DAY)
    kept = warehouse.read("suggestion_history")
    assert kept["suggested_price"].to_list() == [10.0]
    version = home.warehouse.stat().st_mtime_ns
    secure(warehouse, DAY, DAY)
    assert home.warehouse.stat().st_mtime_ns == version, "all of it is there: nothing is written"


def test_what_waits_for_its_check_was_not_said(home: Home) -> None:
    warehouse = Warehouse(home)
    made = {DAY: Fingerprint("f")}
    warehouse.replace("price_suggestions", said("L1", "a", 1e9), "true", [], made, Checks("r", ("schema",)))
    secure(warehouse, DAY, DAY)
    assert warehouse.read("suggestion_history") is None


def test_a_listing_that_was_listed_anew_keeps_what_was_said_of_each_date() -> None:
    moved = said("L1", "a", 12.0, NOON + timedelta(hours=1)).with_columns(listed_on=date(2024, 1, 4))
    both = with_suggestions(with_suggestions(empty(), said("L1", "a", 10.0)), moved)
    assert both["suggested_price"].to_list() == [10.0, 12.0]
    assert with_suggestions(both, moved.clear()).equals(both)


def test_a_clock_that_was_set_back_does_not_keep_the_older_suggestion_of_a_day() -> None:
    first = with_suggestions(empty(), said("L1", "a", 10.0))
    assert with_suggestions(first, said("L1", "a", 11.0, NOON - timedelta(hours=1)))["suggested_price"].to_list() == [
        11.0
    ]


def test_suggestions_of_before_words_were_read_are_by_the_photo() -> None:
    old = said("L1", "a", 10.0).drop("inputs")
    assert with_suggestions(empty(), old)["inputs"].to_list() == ["photo"]


def test_what_was_said_of_a_forgotten_sellers_listings_goes_whoever_has_them_now_and_what_is_said_later_stays(
    home: Home,
) -> None:
    warehouse, later = Warehouse(home), NOON + timedelta(days=2)
    rows = pl.concat([said("L1", "a", 10.0), said("L2", "a", 10.0)])
    warehouse.replace("price_suggestions", rows, "true", [], {})
    warehouse.replace("suggestion_history", with_suggestions(empty(), rows), "true", [], {})
    publication_of(warehouse).publish()
    gone = Said(["L1"], NOON + timedelta(days=1))
    erase_rows(warehouse, "ann", [], gone)
    publication_of(Warehouse(home)).erase("ann", [], gone)
    secure(warehouse, DAY, DAY)
    for table in ("price_suggestions", "suggestion_history"):
        assert warehouse.read(table)["listing_id"].to_list() == ["L2"], table
        with duckdb.connect(str(home.analytics), read_only=True) as connection:
            assert connection.sql(f"select listing_id from {table}").fetchall() == [("L2",)]
    anew = pl.concat([warehouse.read("suggestion_history"), with_suggestions(empty(), said("L1", "a", 9.0, later))])
    raced = pl.concat([anew, with_suggestions(empty(), said("L1", "b", 8.0))])
    warehouse.replace("suggestion_history", raced, "true", [], {})
    erase_said(warehouse, gone)
    assert warehouse.read("suggestion_history")["suggested_price"].to_list() == [10.0, 9.0]


@pytest.fixture
def changed(home: Home) -> pl.DataFrame:
    """After models a, b and c: L1 priced by all, L2 lost its price, L3 gained one, L4 is new, L5 had only words."""
    warehouse, later = Warehouse(home), NOON + timedelta(days=2)
    rows = [
        said("L1", "a", 5.0), said("L1", "b", 10.0, NOON + timedelta(days=1)),
        said("L2", "b", 10.0), said("L3", "b", None), said("L5", "w", 3.0, inputs="words"),
    ]  # fmt: skip
    now = [
        said("L1", "c", 20.0, later), said("L2", "c", None, later), said("L3", "c", 7.0, later),
        said("L4", "c", 7.0, later), said("L5", "c", 7.0, later),
    ]  # fmt: skip
    history = with_suggestions(with_suggestions(empty(), pl.concat(rows)), pl.concat(now))
    warehouse.replace("suggestion_history", history, "true", [], {})
    warehouse.replace("price_suggestions", pl.concat(now), "true", [], {})
    with warehouse.connect(read_only=True) as connection:
        found = pl.DataFrame(connection.execute(CHANGES).to_arrow_table())
    return conforming(found, TABLES["suggestion_changes"])


def test_a_change_stands_beside_the_last_suggestion_of_the_model_before(changed: pl.DataFrame) -> None:
    assert changed["listing_id"].to_list() == ["L1", "L2", "L3"]
    first = changed.row(0, named=True)
    assert (first["model_id_before"], first["suggested_price_before"]) == ("b", 10.0)
    assert first["log_change"] == pytest.approx(log(2))
    assert changed["log_change"].null_count() == 2
    assert (gained(changed), lost(changed)) == (1, 1)
