"""What is out of date now, by a real warehouse and landings."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from vps_assets.home import Home
from vps_assets.landing.landed import LandedIndex
from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.orchestration.state import lineage_state
from vps_assets.tables.partitions import WHOLE
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.named_files import lost
from vps_assets.warehouse.unchecked import Checks, Passed
from vps_ml.backbones.files import save_embeddings
from vps_ml.cards import Contents
from vps_ml.recipes import demo

CHECKED = Checks("r", ("schema",))


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


def test_partitions_that_wait_for_a_check_or_have_lost_their_files_are_planned_again(home: Home) -> None:
    warehouse, artefacts = Warehouse(home), home.artefacts
    artefacts.models.make("b1", lambda: Contents({"kind": "backbone"}))
    file = artefacts.embedding_file("embeddings/e/2024-01-02-x.safetensors")
    save_embeddings(file, {"a": np.ones((1, 1), np.float16)}, np.ones((1, 4)))
    backbones = pl.DataFrame({"task": ["brand", "price"], "path": ["models/b1", None]})
    embeddings = pl.DataFrame({"listed_on": [date(2024, 1, 2)], "path": ["embeddings/e/2024-01-02-x.safetensors"]})
    clean = pl.DataFrame({"listed_on": [date(2024, 1, 2)]})
    warehouse.replace("task_backbones", backbones, "true", [], {})
    warehouse.replace("image_embeddings", embeddings, "true", [], {})
    warehouse.replace("clean_listings", clean, "true", [], {"2024-01-02": Fingerprint("x")}, CHECKED)

    def stale() -> dict[str, list[str]]:
        found = lineage_state(LandedIndex({}, 0), demo(), warehouse).stale
        return {asset: found.get(asset, []) for asset in ("clean_listings", "task_backbones", "image_embeddings")}

    assert warehouse.known().unchecked == {"clean_listings": {"2024-01-02"}}
    assert stale()["clean_listings"] == ["2024-01-02"]
    assert stale()["image_embeddings"] == []
    assert lost(warehouse.known().files, artefacts) == {}
    file.unlink()
    (artefacts.models.folder / "b1" / "card.json").write_text("")
    assert lost(warehouse.known().files, artefacts) == {"task_backbones": {"brand"}, "image_embeddings": {"2024-01-02"}}
    assert stale()["image_embeddings"] == ["2024-01-02"]
    warehouse.note_passed([Passed("clean_listings", "schema", "r", 0.0)])
    assert warehouse.known().unchecked == {}


def test_frozen_assets_stay_as_they_are(just_fitted: Warehouse) -> None:
    index = LandedIndex({"2024-01-01": Fingerprint("a")}, 1000)
    assert "price_bounds" not in lineage_state(index, demo(), just_fitted, ("price_bounds",)).stale
