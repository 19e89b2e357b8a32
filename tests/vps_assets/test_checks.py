"""What blocks and what does not, on a real warehouse, run as `vps run` does it."""

import shutil
from collections.abc import Iterator
from datetime import date

import dagster as dg
import polars as pl
import pytest
from conftest import evaluated, vps
from scenario import listing, listings_file, noon

from vps_assets.assets import checks
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.graph import ALL_DATES
from vps_assets.orchestration.run import Plan, Request, first_cause, range_tags
from vps_assets.warehouse.database import Warehouse

SELECT = ("--select", "+marketplace_statistics")


@pytest.fixture(scope="module")
def cleaned_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A listing a day from the 2nd to the 16th has been cleaned; then that of the 15th was listed anew, on the 2nd."""
    folder = tmp_path_factory.mktemp("moved")
    home = Home(folder / "home")
    land([listings_file(folder, [listing(n, sold_price=15.0) for n in range(1, 16)])], None, home, print)
    assert vps("run", *SELECT, home=home.path).returncode == 0
    land([listings_file(folder, [listing(14, sold_price=15.0, listed_at=noon(2))])], None, home, print)
    return home


def test_a_listing_that_moves_to_a_date_far_away_is_on_that_date_alone(cleaned_home: Home, home: Home) -> None:
    shutil.copytree(cleaned_home.path, home.path)
    ran = vps("run", *SELECT, home=home.path)
    assert ran.returncode == 0, ran.stderr
    for day in ("2024-01-02", "2024-01-15"):
        assert f"clean_listings, {day} to {day}" in ran.stderr
    clean = Warehouse(home).read("clean_listings")
    assert clean.filter(pl.col("listing_id") == "L14")["listed_on"].to_list() == [date(2024, 1, 2)]
    assert clean.height == 15


@pytest.mark.slow
def test_a_run_of_the_new_date_alone_is_blocked_and_names_both(cleaned_home: Home, home: Home) -> None:
    shutil.copytree(cleaned_home.path, home.path)
    ran = vps("run", *SELECT, "--from", "2024-01-02", "--to", "2024-01-02", home=home.path)
    assert ran.returncode == 1
    assert "listing_is_on_one_date" in ran.stderr
    assert "2024-01-02, 2024-01-15" in ran.stderr


@pytest.mark.parametrize(("tags", "blocks"), [({}, True), ({ALL_DATES: "yes"}, False)], ids=["alone", "all dates"])
def test_a_listing_on_two_dates_blocks_unless_the_run_is_one_of_those_of_all_dates(
    home: Home, tags: dict[str, str], blocks: bool
) -> None:
    clean = pl.DataFrame({"listing_id": ["L1", "L1"], "listed_on": [date(2024, 1, 2), date(2024, 3, 4)]})
    Warehouse(home).replace("clean_listings", clean, "true", [], {})
    told, _ = evaluated(checks.listing_is_on_one_date, home, tags)
    assert not told.passed
    assert told.metadata["dates to materialise"].value == "2024-01-02, 2024-03-04"
    assert (told.severity == dg.AssetCheckSeverity.ERROR) == blocks


def test_runs_of_some_dates_alone_are_not_of_all_dates() -> None:
    plan = Plan(("clean_listings",), "2024-01-02", "2024-01-02")
    assert Request().all_dates
    assert not Request(last=date(2024, 1, 2)).all_dates
    assert ALL_DATES in range_tags(plan, all_dates=True)
    assert ALL_DATES not in range_tags(plan, all_dates=False)


def test_the_cause_of_a_failed_run_is_the_check_that_blocked_it_and_not_a_warning_before_it() -> None:
    def found(name: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, check_name=name, severity=severity, metadata={"faults": name})

    @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="made", blocking=True) for name in ("unusual", "wrong")])
    def made() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield dg.MaterializeResult()
        yield found("unusual", dg.AssetCheckSeverity.WARN)
        yield found("wrong", dg.AssetCheckSeverity.ERROR)

    result = dg.materialize([made], raise_on_error=False)
    assert first_cause(result).startswith("check wrong of made failed (faults: wrong")
