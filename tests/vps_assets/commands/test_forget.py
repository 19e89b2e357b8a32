"""`vps forget`: what is removed of a seller, and what stays."""

import os
import time
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from scenario import DAY, listing, listings_file, photo, quiet, with_sellers

from vps_assets.commands.forget import (
    REMAINING,
    NothingToForget,
    NotYet,
    empty_inbox,
    erasure_of,
    forget,
    land_waiting_files,
    models_with_items,
    noted,
    remove_run_pictures,
    rewrite_landings,
    touches,
)
from vps_assets.home import Home
from vps_assets.landing.inbox import take_in
from vps_assets.landing.land import land
from vps_assets.landing.landed import all_landed
from vps_assets.orchestration.instance import open_instance
from vps_assets.warehouse.database import Warehouse
from vps_ml.cards import Contents
from vps_ml.features.roles import LEARNT, ROLES, learnt_items
from vps_ml.recipes import demo


def remaining(home: Home) -> list[str]:
    """The listings of all rows that have landed and are still there."""
    return all_landed(home, REMAINING)["listing_id"].to_list()


def test_a_sellers_rows_go_and_everybody_elses_stay_in_the_same_landing(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"), (3, "ann"))
    before = [file.name for file in home.landing.iterdir()]
    rewrite_landings(home, "ann")
    assert remaining(home) == ["L2"]
    assert [file.name for file in home.landing.iterdir()] == before
    assert "ann" not in str(pl.read_parquet(next(home.landing.iterdir())).rows())


def test_a_landing_of_this_seller_alone_goes_whole(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    rewrite_landings(home, "ann")
    assert not list(home.landing.iterdir())


def test_a_row_without_a_seller_stays(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    land([listings_file(tmp_path / "more", [listing(2, seller_id=None)])], None, home, quiet)
    rewrite_landings(home, "ann")
    assert remaining(home) == ["L2"]


def test_archived_files_that_name_the_seller_go_and_those_that_cannot_be_read_are_reported(home: Home) -> None:
    listings_file(home.inbox, [listing(1, seller_id="ann ")], "one.csv")
    listings_file(home.inbox, [listing(2, seller_id="bob")], "two.csv")
    (home.inbox / "broken.csv").write_text("price,seller\n3,ann\n")
    take_in(["one.csv", "two.csv", "broken.csv"], home, quiet)
    (home.inbox / "upload.csv.part").write_text("ann")
    erasure = erasure_of(home, "ann")
    (unread,) = empty_inbox(home, erasure, set(erasure.photos))
    assert Path(unread).name == "broken.csv"
    left = {str(path.relative_to(home.inbox)) for path in home.inbox.rglob("*") if path.is_file()}
    kept = {"2.png", "landed/two.csv", "refused/broken.csv", "refused/broken.csv.reason.txt", "upload.csv.part"}
    assert left == kept


def test_another_sellers_photo_of_the_same_name_stays(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    photo(home.inbox / "1.png", seed=99)
    erasure = erasure_of(home, "ann")
    empty_inbox(home, erasure, set(erasure.photos))
    assert (home.inbox / "1.png").exists()


def test_a_waiting_file_lands_first_so_that_nobody_elses_rows_are_lost(home: Home) -> None:
    listings_file(home.inbox, [listing(1, seller_id="ann"), listing(2, seller_id="bob")], "day.parquet")
    with pytest.raises(NotYet, match="day.parquet"):
        land_waiting_files(home, "ann", quiet)
    os.utime(home.inbox / "day.parquet", (time.time() - 100,) * 2)
    land_waiting_files(home, "ann", quiet)
    rewrite_landings(home, "ann")
    assert remaining(home) == ["L2"]


def test_a_photo_path_that_no_file_can_have_does_not_hold_up_an_erasure(home: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path, [listing(1, seller_id="ann")])], None, home, quiet)
    erasure = erasure_of(home, "ann")
    long = replace(erasure, image_paths=["x" * 5000, "nul\0", "../../secret.png", *erasure.image_paths])
    assert empty_inbox(home, long, set(erasure.photos)) == []


def test_pictures_of_photos_leave_the_records_of_runs(home: Home) -> None:
    @dg.asset
    def raw_listings(context: dg.AssetExecutionContext) -> None:
        context.add_asset_metadata({"photos": dg.MetadataValue.md("picture-of-anns-sofa")})

    with open_instance(home) as instance:
        assert dg.materialize([raw_listings], instance=instance).success
    (home.op_outputs / "finished").mkdir(parents=True)

    def kept() -> list[Path]:
        files = [path for path in home.dagster.rglob("*") if path.is_file()]
        return [path for path in files if b"picture-of-anns-sofa" in path.read_bytes()]

    assert kept()
    remove_run_pictures(home)
    assert not (home.op_outputs / "finished").exists()
    assert kept() == []


def test_the_only_seller_can_be_forgotten(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    rows = {"listing_id": ["L1"], "seller_id": ["ann"], "listed_on": [DAY]}
    Warehouse(home).replace("raw_listings", pl.DataFrame(rows), "true", [], {})
    gone = forget(home, demo(), "ann", quiet)
    assert (gone.listings, gone.photos) == (1, 1)
    assert Warehouse(home).read("raw_listings").is_empty()
    assert not [path for path in home.photos.rglob("*") if path.is_file()]
    assert not list(home.path.glob("erasures/*"))


def test_sold_items_that_comparables_are_searched_in_go_with_every_seller(home: Home, tmp_path: Path) -> None:
    """Those of others are kept again by the run that follows; until then nothing is shown beside a price."""
    with_sellers(home, tmp_path, (1, "ann"))
    rows = {"listing_id": ["L1"], "seller_id": ["ann"], "listed_on": [DAY]}
    warehouse, models = Warehouse(home), home.artefacts.models
    warehouse.replace("raw_listings", pl.DataFrame(rows), "true", [], {})
    beside = {"listing_id": ["L8", "L1", "L9"], "comparable_id": ["L7", "L6", "L1"], "listed_on": [DAY] * 3}
    warehouse.replace("suggestion_comparables", pl.DataFrame(beside), "true", [], {})
    warehouse.replace("comparable_items", pl.DataFrame({"inputs": ["photo"], "path": ["models/s"]}), "true", [], {})
    models.make("s", lambda: Contents({"kind": "sold_items"}))
    models.make("m", lambda: Contents({"kind": "pricing_model"}))
    forget(home, demo(), "ann", quiet)
    left = warehouse.read("suggestion_comparables")
    assert left is not None
    assert left.select("listing_id", "comparable_id").rows() == [("L8", "L7")]
    assert warehouse.read("comparable_items").is_empty()
    assert models.ids() == ["m"]


def test_an_erasure_that_was_interrupted_still_has_what_was_to_go(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    first = noted(home, "ann", erasure_of(home, "ann"))
    rewrite_landings(home, "ann")
    assert noted(home, "ann", erasure_of(home, "ann")) == first
    assert first.listings == ["L1"]


def test_a_seller_that_never_landed_cannot_be_forgotten(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    with pytest.raises(NothingToForget, match="zoe"):
        noted(home, "zoe", erasure_of(home, "zoe"))


def test_the_models_that_learnt_from_a_sellers_items_are_named(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"))
    mine, theirs = (erasure_of(home, seller).groups[0] for seller in ("ann", "bob"))
    items = {"group_key": [mine, theirs], "photo_hash": [mine, theirs]}
    sides = {"group_role": ["test", "train"], "time_role": ["validation", "train"]}
    learnt = {"group_key": [mine], "photo_hash": [mine]}
    models = home.artefacts.models
    models.make("r", lambda: Contents({"kind": "roles"}, frames={ROLES: pl.DataFrame(items | sides)}))
    models.make("b", lambda: Contents({"kind": "backbone"}, frames={LEARNT: pl.DataFrame(learnt)}))
    for split in ("group", "time"):
        card = {"kind": "pricing_model", "roles_id": "r", "split_kind": split}
        models.make(f"m-{split}", lambda card=card: Contents(card))
    assert models_with_items(home, erasure_of(home, "ann")) == {"backbone": ["b"], "pricing_model": ["m-time"]}
    assert models_with_items(home, erasure_of(home, "bob")) == {"pricing_model": ["m-group", "m-time"]}
    assert learnt_items(home.artefacts, "r") is None
    assert not touches(pl.DataFrame({"group_key": ["x"], "photo_hash": ["y"]}), erasure_of(home, "ann"))
