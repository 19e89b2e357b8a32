"""How assets stand, as the UI's checks say it: on a real instance, warehouse and landings."""

from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from conftest import vps
from dagster._core.definitions.sensor_definition import SensorExecutionData
from scenario import listing, listings_file, noon

from vps_assets.definitions import defs
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.internals import newest_evaluations
from vps_assets.orchestration.standing import COMING_IN, KEYS, UP_TO_DATE, coming_in, standing_sensor
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.settings import Settings
from vps_assets.warehouse.unchecked import Checks

SELECT = ("--select", "raw_listings,price_bounds,clean_listings,quarantined_listings")


def tick(home: Home) -> SensorExecutionData:
    """One of the sensor, with what it tells put into the instance as the daemon puts it."""
    sensor = standing_sensor(dg.DefaultSensorStatus.RUNNING)
    settings = Settings(data_directory=str(home.path), recipe_name="demo")
    with (
        open_instance(home) as instance,
        dg.build_sensor_context(instance, sensor_name=sensor.name, resources={"settings": settings}) as context,
    ):
        ticked = sensor.evaluate_tick(context)
        for event in ticked.asset_events:
            instance.report_runless_asset_event(event)
        return ticked


def told(home: Home, asset: str, check: str = UP_TO_DATE) -> dg.AssetCheckEvaluation:
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    with open_instance(home) as instance:
        return newest_evaluations(instance, [key])[key]


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three days that have landed and been cleaned."""
    folder = tmp_path_factory.mktemp("standing")
    home = Home(folder / "home")
    land([listings_file(folder, [listing(number) for number in (1, 2, 3)])], None, home, print)
    ran = vps("run", *SELECT, home=home.path)
    assert ran.returncode == 0, ran.stderr
    return home


def test_after_a_run_its_own_assets_are_up_to_date_by_its_own_word(cleaned: Home) -> None:
    assert all(told(cleaned, asset).passed for asset in ("raw_listings", "clean_listings", "quarantined_listings"))
    assert not told(cleaned, "clean_listings", "listings_come_in").passed, "they are of 2024"


def test_a_tick_tells_what_is_not_made_and_the_next_one_nothing(cleaned: Home) -> None:
    first = tick(cleaned)
    assert {event.asset_key.to_user_string() for event in first.asset_events} == {
        asset for asset in LINEAGE if asset not in SELECT[1].split(",")
    }
    assert told(cleaned, "image_embeddings").metadata["why"].value == "3 not made yet"
    assert tick(cleaned).skip_message == "as noted"


def test_what_lands_later_and_what_failed_its_check_are_told_with_their_dates(cleaned: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path, [listing(9)], "more.parquet")], None, cleaned, print)
    Warehouse(cleaned).replace(
        "quarantined_listings", Warehouse(cleaned).read("quarantined_listings"), "true", [],
        {"2024-01-03": Warehouse(cleaned).records().made["quarantined_listings"]["2024-01-03"]},
        Checks("a run", ("schema",)),
    )  # fmt: skip
    tick(cleaned)
    landed, kept_out = told(cleaned, "raw_listings"), told(cleaned, "quarantined_listings")
    assert not landed.passed
    assert landed.severity == dg.AssetCheckSeverity.WARN
    assert landed.metadata["partitions"].value == "2024-01-10"
    assert kept_out.metadata["partitions"].value == "2024-01-03, 2024-01-10"
    assert kept_out.metadata["why"].value == "1 has not passed its check; 1 not made yet"
    ran = vps("run", *SELECT, home=cleaned.path)
    assert ran.returncode == 0, ran.stderr
    assert told(cleaned, "quarantined_listings").passed
    tick(cleaned)
    assert told(cleaned, "quarantined_listings").passed, "by the sensor's word too"


def test_a_change_is_told_with_the_parent_that_changed_or_that_it_is_the_code(cleaned: Home) -> None:
    warehouse = Warehouse(cleaned)
    made = warehouse.records().made
    other = {"2024-01-02": made["clean_listings"]["2024-01-02"].__class__("other")}
    warehouse.replace("clean_listings", warehouse.read("clean_listings"), "true", [], other)
    tick(cleaned)
    assert told(cleaned, "clean_listings").metadata["why"].value == "1 its code or recipe has changed"
    later = made["price_bounds"]
    warehouse.replace("price_bounds", warehouse.read("price_bounds"), "true", [], later)
    tick(cleaned)
    assert told(cleaned, "clean_listings").metadata["why"].value == "1 changed since: price_bounds"


def test_data_come_in_if_the_newest_listing_and_sale_are_recent(home: Home) -> None:
    assert not any(said.passed for said in coming_in(Warehouse(home), date(2024, 1, 9)).values())
    rows = pl.DataFrame({"listed_on": [noon(5).date(), noon(7).date()], "sold_on": [noon(6).date(), None]})
    Warehouse(home).replace("clean_listings", rows, "true", [], {})
    for today, listings, sales in ((date(2024, 1, 9), True, True), (date(2024, 1, 10), False, True)):
        assert [said.passed for said in coming_in(Warehouse(home), today).values()] == [listings, sales]
    assert not coming_in(Warehouse(home), date(2024, 1, 14))["sales_come_in"].passed


def test_every_such_check_is_one_that_the_ui_shows() -> None:
    shown = set(defs().resolve_asset_graph().asset_check_keys)
    assert set(KEYS) <= shown
    assert len(KEYS) == len(LINEAGE) + len(COMING_IN)
