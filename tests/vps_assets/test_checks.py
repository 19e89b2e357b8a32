"""What blocks and what does not, on a real warehouse, run as `vps run` does it."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from scenario import listing, listings_file, noon

from vps_assets import checks
from vps_assets.home import Home
from vps_assets.landing import land
from vps_assets.resources.io import Settings
from vps_assets.resources.warehouse import Warehouse
from vps_assets.runs import Request, first_cause, run_lineage
from vps_ml.recipes import demo

CLEANED = Request("+clean_listings,quarantined_listings", anew=False)


def landed_and_cleaned(home: Home, folder: Path, rows: list[dict]) -> None:
    land([listings_file(folder, rows)], None, home, print)
    run_lineage(home, demo(), CLEANED, print)


def test_a_listing_that_moves_to_a_date_far_away_is_on_that_date_alone(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    landed_and_cleaned(home, tmp_path, [listing(n, sold_price=15.0) for n in range(1, 16)])
    before = Warehouse(home).read("clean_listings")
    capsys.readouterr()
    landed_and_cleaned(home, tmp_path, [listing(14, sold_price=15.0, listed_at=noon(2))])
    told = capsys.readouterr().out
    assert "clean_listings, quarantined_listings, 2024-01-02 to 2024-01-02" in told
    assert "clean_listings, quarantined_listings, 2024-01-15 to 2024-01-15" in told
    clean = Warehouse(home).read("clean_listings")
    assert clean.filter(pl.col("listing_id") == "L14")["listed_on"].to_list() == [date(2024, 1, 2)]
    assert clean.height == before.height


@pytest.mark.parametrize(("raw_has_moved_on", "blocks"), [(False, True), (True, False)])
def test_a_listing_on_two_dates_blocks_unless_raw_listings_has_moved_on(
    home: Home, raw_has_moved_on: bool, blocks: bool
) -> None:
    dates = {"listing_id": ["L1", "L1"], "listed_on": [date(2024, 1, 2), date(2024, 3, 4)]}
    clean = pl.DataFrame(dates)
    raw = clean.with_columns(landing_reasons=pl.Series([[], []], dtype=pl.List(pl.String)))
    Warehouse(home).replace("clean_listings", clean, "true", [], {})
    Warehouse(home).replace("raw_listings", raw.tail(1) if raw_has_moved_on else raw, "true", [], {})
    job = dg.define_asset_job("checking", dg.AssetSelection.checks(checks.listing_is_on_one_date))
    settings = Settings(home=str(home.path), recipe_name="demo")
    defs = dg.Definitions(asset_checks=[checks.listing_is_on_one_date], resources={"settings": settings}, jobs=[job])
    (told,) = defs.resolve_job_def("checking").execute_in_process(raise_on_error=False).get_asset_check_evaluations()
    assert not told.passed
    assert told.metadata["dates to materialise"].value == "2024-01-02, 2024-03-04"
    assert (told.severity == dg.AssetCheckSeverity.ERROR) == blocks


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
