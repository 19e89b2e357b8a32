"""What is out of date now, by a real warehouse and landings."""

import polars as pl
import pytest

from vps_assets.home import Home
from vps_assets.landing.landed import LandedIndex
from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.orchestration.state import lineage_state
from vps_assets.tables.partitions import WHOLE
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import demo


@pytest.fixture
def just_fitted(home: Home) -> Warehouse:
    """A warehouse whose price bounds were fitted now, on 100 sales."""
    warehouse = Warehouse(home)
    basis = basis_of("price_bounds", WHOLE, demo(), Records())
    made = {WHOLE: Fingerprint(basis, 100, "c")}
    warehouse.replace("price_bounds", pl.DataFrame({"sales": [100]}), "true", [], made)
    return warehouse


@pytest.mark.parametrize(
    ("sales", "waits", "is_stale"), [(149, False, False), (150, False, True), (199, True, False), (200, True, True)]
)
def test_a_sensor_waits_for_the_minimum_age_or_doubled_sales_and_a_person_does_not(
    just_fitted: Warehouse, sales: int, waits: bool, is_stale: bool
) -> None:
    index = LandedIndex({"2024-01-01": Fingerprint("a")}, sales)
    state = lineage_state(index, demo(), just_fitted, wait_for_minimum_age=waits)
    assert ("price_bounds" in state.stale) == is_stale


def test_dates_that_have_lost_their_rows_are_planned_too(home: Home) -> None:
    warehouse = Warehouse(home)
    made = {"2024-01-02": Fingerprint("b")}
    warehouse.replace("raw_listings", pl.DataFrame({"listing_id": ["L1"]}), "true", [], made)
    state = lineage_state(LandedIndex({"2024-01-01": Fingerprint("a")}, 1), demo(), warehouse)
    assert state.days == ["2024-01-01", "2024-01-02"]
    assert state.stale["raw_listings"] == ["2024-01-01", "2024-01-02"]


def test_frozen_assets_stay_as_they_are(just_fitted: Warehouse) -> None:
    index = LandedIndex({"2024-01-01": Fingerprint("a")}, 1000)
    assert "price_bounds" not in lineage_state(index, demo(), just_fitted, ("price_bounds",)).stale
