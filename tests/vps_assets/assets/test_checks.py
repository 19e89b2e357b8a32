"""What blocks and what does not, on a real warehouse, run as `vps run` does it."""

import shutil
from datetime import date

import dagster as dg
import polars as pl
import pytest
from conftest import evaluated, vps
from sales import CLEAN, bent, clean_written, corrected, day, sale, tables_of, with_the_sales
from scenario import listing, listings_file, noon

from vps_assets.assets import checks
from vps_assets.assets.checks import hindsight_rows, last_correction, of_each_label, wrong_counts
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.planning import ALL_DATES
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.statistics_state import KEYS, LABELS

SELECT = ("--select", "+marketplace_statistics")


@pytest.fixture(scope="module")
def cleaned_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """45 days with a listing each have been cleaned; then that of 10 February was listed anew, on 2 January."""
    folder = tmp_path_factory.mktemp("moved")
    home = Home(folder / "home")
    moments = {n: {"listed_at": noon(1 + n), "sold_at": noon(2 + n)} for n in range(1, 46)}
    rows = [listing(n, sold_price=15.0, **moments[n]) for n in moments]
    land([listings_file(folder, rows)], None, home, print)
    assert vps("run", *SELECT, home=home.path).returncode == 0
    moved = listing(40, sold_price=15.0, listed_at=noon(2), sold_at=noon(42))
    land([listings_file(folder, [moved])], None, home, print)
    return home


@pytest.mark.slow
def test_a_listing_that_moves_to_a_date_far_away_is_on_that_date_alone(cleaned_home: Home, home: Home) -> None:
    shutil.copytree(cleaned_home.path, home.path)
    ran = vps("run", *SELECT, home=home.path)
    assert ran.returncode == 0, ran.stderr
    for listed_on in ("2024-01-02", "2024-02-10"):  # too many dates between to be one run
        assert f"clean_listings, {listed_on} to {listed_on}" in ran.stderr
    clean = Warehouse(home).read("clean_listings")
    assert clean.filter(pl.col("listing_id") == "L40")["listed_on"].to_list() == [date(2024, 1, 2)]
    assert clean.height == 45


@pytest.mark.slow
def test_a_run_of_the_new_date_alone_is_blocked_and_names_both(cleaned_home: Home, home: Home) -> None:
    shutil.copytree(cleaned_home.path, home.path)
    ran = vps("run", *SELECT, "--from", "2024-01-02", "--to", "2024-01-02", home=home.path)
    assert ran.returncode == 1
    assert "listing_is_on_one_date" in ran.stderr
    assert "2024-01-02, 2024-02-10" in ran.stderr


@pytest.mark.parametrize(("tags", "blocks"), [({}, True), ({ALL_DATES: "yes"}, False)], ids=["alone", "all dates"])
def test_a_listing_on_two_dates_blocks_unless_the_run_is_one_of_those_of_all_dates(
    home: Home, tags: dict[str, str], blocks: bool
) -> None:
    clean = pl.DataFrame({"listing_id": ["L1", "L1"], "listed_on": [date(2024, 1, 2), date(2024, 3, 4)]})
    Warehouse(home).replace("clean_listings", clean, "true", [], {})
    evaluation, _ = evaluated(checks.listing_is_on_one_date, home, tags)
    assert not evaluation.passed
    assert evaluation.metadata["dates to materialise"].value == "2024-01-02, 2024-03-04"
    assert evaluation.metadata["listings"].value == 1
    assert (evaluation.severity == dg.AssetCheckSeverity.ERROR) == blocks


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    """A few sales and their statistics."""
    return with_the_sales(Warehouse(home))


@pytest.mark.parametrize("asset", KEYS)
def test_the_leak_check_passes_what_is_right(warehouse: Warehouse, asset: str) -> None:
    assert wrong_counts(warehouse, asset, "true", []) == 0
    sold = CLEAN.drop_nulls("sold_on")
    rows = of_each_label(sold) if asset == LABELS else sold
    assert hindsight_rows(warehouse.read(asset), rows, KEYS[asset]) == []


@pytest.mark.parametrize("asset", KEYS)
def test_the_leak_check_finds_a_table_that_sees_sales_of_its_own_day(warehouse: Warehouse, asset: str) -> None:
    bent(warehouse, asset, "as_of = as_of - 1")
    assert wrong_counts(warehouse, asset, "true", []) > 0


def test_the_leak_check_finds_a_row_that_counts_a_sale_too_many(warehouse: Warehouse) -> None:
    bent(warehouse, "marketplace_statistics", "sales = sales + 1")
    assert wrong_counts(warehouse, "marketplace_statistics", "true", []) == 3


@pytest.mark.parametrize("moment", ["q1", "median", "q3", "mean"])
def test_the_leak_check_finds_a_price_seen_in_hindsight(moment: str) -> None:
    rows = tables_of(CLEAN)["marketplace"].sort("as_of")
    leaking = rows.with_columns(pl.col(moment).shift(-1).fill_null(pl.col(moment)))
    assert len(hindsight_rows(leaking, CLEAN.drop_nulls("sold_on"), None)) == 2


def test_after_a_correction_the_checks_look_at_what_it_touched(warehouse: Warehouse) -> None:
    assert last_correction("seller_statistics", warehouse) == ("true", [])
    clean_written(warehouse, pl.concat([CLEAN, sale("g", 5, 6, 90.0)]))
    corrected(warehouse)
    assert last_correction("seller_statistics", warehouse) == ("as_of > ?", [day(6)])
