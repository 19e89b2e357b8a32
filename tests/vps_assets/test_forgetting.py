import os
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from scenario import DAY, listing, listings_file, photo

from vps_assets.commands.forget import (
    NothingToForget,
    NotYet,
    empty_inbox,
    forget,
    forget_pictures,
    found,
    land_what_waits,
    landed,
    learnt,
    noted,
    rewrite_landings,
    taught_by,
    touches,
)
from vps_assets.home import Home
from vps_assets.landing.inbox import take_in
from vps_assets.landing.land import land
from vps_assets.orchestration.instance import open_instance
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.erasure import OF_A_SELLER, erase_rows
from vps_ml.artefacts import artefact
from vps_ml.features.dataset import LEARNT, ROLES
from vps_ml.recipes import demo


def with_sellers(home: Home, tmp_path: Path, *rows: tuple[int, str]) -> None:
    """Land a listing a number, of this seller."""
    land([listings_file(tmp_path / "in", [listing(n, seller_id=s) for n, s in rows])], None, home, lambda told: None)


def test_a_sellers_rows_go_and_everybody_elses_stay_in_the_same_landing(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"), (3, "ann"))
    before = [file.name for file in home.landing.iterdir()]
    rewrite_landings(home, "ann")
    assert landed(home)["listing_id"].to_list() == ["L2"]
    assert [file.name for file in home.landing.iterdir()] == before
    assert "ann" not in str(pl.read_parquet(next(home.landing.iterdir())).rows())


def test_a_landing_of_this_seller_alone_goes_whole(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    rewrite_landings(home, "ann")
    assert not list(home.landing.iterdir())


def test_a_row_without_a_seller_stays(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    land([listings_file(tmp_path / "more", [listing(2, seller_id=None)])], None, home, lambda told: None)
    rewrite_landings(home, "ann")
    assert landed(home)["listing_id"].to_list() == ["L2"]


def test_archived_files_that_name_the_seller_go_and_those_that_cannot_be_read_are_reported(home: Home) -> None:
    listings_file(home.inbox, [listing(1, seller_id="ann ")], "one.csv")
    listings_file(home.inbox, [listing(2, seller_id="bob")], "two.csv")
    (home.inbox / "broken.csv").write_text("price,seller\n3,ann\n")
    take_in(["one.csv", "two.csv", "broken.csv"], home, lambda told: None)
    (home.inbox / "upload.csv.part").write_text("ann")
    erasure = found(home, "ann")
    (unread,) = empty_inbox(home, erasure, set(erasure.photos))
    assert Path(unread).name == "broken.csv"
    left = {str(path.relative_to(home.inbox)) for path in home.inbox.rglob("*") if path.is_file()}
    kept = {"2.png", "landed/two.csv", "refused/broken.csv", "refused/broken.csv.reason.txt", "upload.csv.part"}
    assert left == kept


def test_another_sellers_photo_of_the_same_name_stays(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    photo(home.inbox / "1.png", seed=99)
    erasure = found(home, "ann")
    empty_inbox(home, erasure, set(erasure.photos))
    assert (home.inbox / "1.png").exists()


def test_a_waiting_file_lands_first_so_that_nobody_elses_rows_are_lost(home: Home) -> None:
    listings_file(home.inbox, [listing(1, seller_id="ann"), listing(2, seller_id="bob")], "day.parquet")
    with pytest.raises(NotYet, match="day.parquet"):
        land_what_waits(home, "ann", lambda told: None)
    os.utime(home.inbox / "day.parquet", (time.time() - 100,) * 2)
    land_what_waits(home, "ann", lambda told: None)
    rewrite_landings(home, "ann")
    assert landed(home)["listing_id"].to_list() == ["L2"]


def test_a_sellers_rows_go_from_every_table_with_those_that_could_not_be_read(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"))
    warehouse, told = (
        Warehouse(home),
        {"listing_id": ["L1", "L2"], "seller_id": ["ann", "bob"], "listed_on": [DAY, DAY]},
    )
    for table in ("raw_listings", "clean_listings"):
        warehouse.replace(table, pl.DataFrame(told), "true", [], {})
    for table in ("image_embeddings", "evaluation_predictions", "price_suggestions"):
        rows = pl.DataFrame({"listing_id": ["L1", "L2"], "path": ["x", "x"]})
        warehouse.replace(table, rows, "true", [], {})
    bad = pl.DataFrame({"listing_id": [None, "L2"], "row": ['{"seller_id": "ann "}', '{"seller_id": "bob"}']})
    warehouse.replace("quarantined_listings", bad, "true", [], {})
    warehouse.replace("seller_statistics", pl.DataFrame({"seller_id": ["ann", "bob"]}), "true", [], {})
    erase_rows(warehouse, "ann", ["L1"])
    for table in [table for table in OF_A_SELLER if "." not in table]:
        rows = warehouse.read(table)
        assert rows.height == 1, table
        assert "ann" not in str(rows.rows()), table


def test_a_listing_that_is_somebody_elses_by_now_stays_and_its_date_is_made_anew(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    with_sellers(home, tmp_path, (1, "anne"))
    told = pl.DataFrame({"listing_id": ["L1"], "seller_id": ["anne"], "listed_on": [date(2024, 1, 2)]})
    Warehouse(home).replace("raw_listings", told, "true", [], {"2024-01-02": "f"})
    erasure = found(home, "ann")
    rewrite_landings(home, "ann")
    gone = sorted(set(erasure.listings) - set(landed(home)["listing_id"]))
    assert gone == []
    erase_rows(Warehouse(home), "ann", gone)
    assert Warehouse(home).read("raw_listings").height == 1
    erase_rows(Warehouse(home), "anne", ["L1"])
    assert Warehouse(home).fingerprints() == {}


def test_a_photo_path_that_no_file_can_have_does_not_hold_up_an_erasure(home: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path, [listing(1, seller_id="ann")])], None, home, lambda told: None)
    erasure = found(home, "ann")
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
    forget_pictures(home)
    assert not (home.op_outputs / "finished").exists()
    assert kept() == []


def test_the_only_seller_can_be_forgotten(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    told = {"listing_id": ["L1"], "seller_id": ["ann"], "listed_on": [DAY]}
    Warehouse(home).replace("raw_listings", pl.DataFrame(told), "true", [], {})
    gone = forget(home, demo(), "ann", lambda told: None)
    assert (gone.listings, gone.photos) == (1, 1)
    assert Warehouse(home).read("raw_listings").is_empty()
    assert not [path for path in home.photos.rglob("*") if path.is_file()]
    assert not list(home.path.glob("erasures/*"))


def test_an_erasure_that_was_broken_off_still_knows_what_was_to_go(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    first = noted(home, "ann", found(home, "ann"))
    rewrite_landings(home, "ann")
    assert noted(home, "ann", found(home, "ann")) == first
    assert first.listings == ["L1"]


def test_a_seller_that_never_landed_cannot_be_forgotten(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    with pytest.raises(NothingToForget, match="zoe"):
        noted(home, "zoe", found(home, "zoe"))


def test_the_models_that_learnt_from_a_sellers_items_are_named(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"))
    mine, theirs = (found(home, seller).groups[0] for seller in ("ann", "bob"))

    def roles(folder: Path) -> dict:
        rows = {"group_key": [mine, theirs], "photo_hash": [mine, theirs]}
        sides = {"group_role": ["test", "train"], "time_role": ["validation", "train"]}
        pl.DataFrame(rows | sides).write_parquet(folder / ROLES)
        return {"kind": "roles"}

    def backbone(folder: Path) -> dict:
        pl.DataFrame({"group_key": [mine], "photo_hash": [mine]}).write_parquet(folder / LEARNT)
        return {"kind": "backbone"}

    artefact(home.models, "r", roles)
    artefact(home.models, "b", backbone)
    for split in ("group", "time"):
        artefact(home.models, f"m-{split}", lambda folder, split=split: {
            "kind": "pricing_model", "roles_id": "r", "split_kind": split,
        })  # fmt: skip
    assert taught_by(home, found(home, "ann")) == {"backbone": ["b"], "pricing_model": ["m-time"]}
    assert taught_by(home, found(home, "bob")) == {"pricing_model": ["m-group", "m-time"]}
    assert learnt(home.models / "r", {"kind": "roles"}) is None
    assert not touches(pl.DataFrame({"group_key": ["x"], "photo_hash": ["y"]}), found(home, "ann"))


def test_a_warehouse_that_was_rewritten_has_the_same_tables_and_no_deleted_row_in_its_file(home: Home) -> None:
    warehouse, secret = Warehouse(home), "anns-secret-listing-title"
    rows = pl.DataFrame({"listing_id": [f"{secret}-{n}" for n in range(5000)], "seller": "ann"})
    warehouse.replace("raw_listings", rows, "true", [], {"": "f"})
    warehouse.replace("raw_listings", pl.DataFrame({"listing_id": ["b"], "seller": ["bob"]}), "true", [], {"": "g"})
    warehouse.rewrite()
    assert secret.encode() not in home.warehouse.read_bytes()
    assert warehouse.read("raw_listings").rows() == [("b", "bob")]
    assert warehouse.fingerprints() == {"raw_listings": {"": "g"}}
    warehouse.publish()
    assert secret.encode() not in home.analytics.read_bytes()
