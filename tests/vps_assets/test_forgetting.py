from pathlib import Path

import polars as pl
import pytest
from scenario import listing, listings_file

from vps_assets.forgetting import (
    NothingToForget,
    empty_inbox,
    found,
    landed,
    learnt,
    noted,
    rewrite_landings,
    taught_by,
    touches,
)
from vps_assets.home import Home
from vps_assets.inbox import take_in
from vps_assets.landing import land
from vps_assets.resources.warehouse import Warehouse
from vps_ml.pricing_table import LEARNT, ROLES
from vps_ml.store import artefact


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


def test_files_of_the_inbox_that_name_the_seller_and_the_photos_beside_them_go(home: Home) -> None:
    listings_file(home.inbox, [listing(1, seller_id="ann")], "one.parquet")
    listings_file(home.inbox, [listing(2, seller_id="bob")], "two.csv")
    (home.inbox / "broken.csv").write_text("price,seller\n3,ann\n")
    take_in(["one.parquet", "two.csv", "broken.csv"], home, lambda told: None)
    empty_inbox(home, found(home, "ann"))
    left = {str(path.relative_to(home.inbox)) for path in home.inbox.rglob("*") if path.is_file()}
    assert left == {"2.png", "landed/two.csv", "refused/broken.csv.reason.txt"}


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
