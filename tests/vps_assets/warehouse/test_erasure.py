"""A seller's rows in the tables, and their deletion."""

import os
import stat
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from prices import with_prices
from scenario import DAY, with_sellers

from vps_assets.commands.forget import erasure_of
from vps_assets.home import Home
from vps_assets.landing.landed import all_landed
from vps_assets.landing.packs import rewrite_landings
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.erasure import OF_A_SELLER, erase_rows
from vps_assets.warehouse.publication import publication_of


def test_a_sellers_rows_go_from_every_table_with_those_that_could_not_be_read(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"), (2, "bob"))
    warehouse = Warehouse(home)
    both = {"listing_id": ["L1", "L2"], "seller_id": ["ann", "bob"], "listed_on": [DAY, DAY]}
    for table in ("raw_listings", "clean_listings"):
        warehouse.replace(table, pl.DataFrame(both), "true", [], {})
    for table in (
        "image_embeddings",
        "text_embeddings",
        "evaluation_predictions",
        "price_suggestions",
        "suggestion_history",
        "suggestion_changes",
    ):
        rows = pl.DataFrame({"listing_id": ["L1", "L2"], "path": ["x", "x"]})
        warehouse.replace(table, rows, "true", [], {})
    bad = pl.DataFrame({"listing_id": [None, "L2"], "row": ['{"seller_id": "ann "}', '{"seller_id": "bob"}']})
    warehouse.replace("quarantined_listings", bad, "true", [], {})
    warehouse.replace("seller_statistics", pl.DataFrame({"seller_id": ["ann", "bob"]}), "true", [], {})
    beside = pl.DataFrame({"listing_id": ["L1", "L8", "L2"], "comparable_id": ["L9", "L1", "L9"]})
    warehouse.replace("suggestion_comparables", beside, "true", [], {})
    warehouse.replace("comparable_items", pl.DataFrame({"path": ["x"]}), "true", [], {})
    erase_rows(warehouse, "ann", ["L1"])
    assert warehouse.read("comparable_items").is_empty(), "its sold items are not those that it may name"
    for table in [table for table in OF_A_SELLER if "." not in table and table != "comparable_items"]:
        rows = warehouse.read(table)
        assert rows.height == 1, table
        assert "ann" not in str(rows.rows()), table


def test_a_listing_that_is_somebody_elses_by_now_stays_and_its_date_is_made_again(home: Home, tmp_path: Path) -> None:
    with_sellers(home, tmp_path, (1, "ann"))
    with_sellers(home, tmp_path, (1, "anne"))
    rows = pl.DataFrame({"listing_id": ["L1"], "seller_id": ["anne"], "listed_on": [date(2024, 1, 2)]})
    Warehouse(home).replace("raw_listings", rows, "true", [], {"2024-01-02": Fingerprint("f")})
    erasure = erasure_of(home, "ann")
    rewrite_landings(home, "ann")
    gone = sorted(set(erasure.listings) - set(all_landed(home, ["listing_id"])["listing_id"]))
    assert gone == []
    erase_rows(Warehouse(home), "ann", gone)
    assert Warehouse(home).read("raw_listings").height == 1
    erase_rows(Warehouse(home), "anne", ["L1"])
    assert Warehouse(home).records().made == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to give a file to another group")
def test_the_copy_keeps_its_mode_and_group_when_rows_are_erased_from_it(home: Home) -> None:
    publication_of(with_prices(home)).publish()
    home.analytics.chmod(0o640)
    os.chown(home.analytics, -1, 60)
    publication_of(Warehouse(home)).erase("S1", [])
    status = home.analytics.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, 60)


def test_rows_are_erased_from_the_copy_whatever_becomes_of_the_tables(home: Home) -> None:
    rows = pl.DataFrame({"listing_id": ["L1", "L2"], "seller_id": ["secret-seller", "S2"]})
    Warehouse(home).replace("clean_listings", rows, "true", [], {})
    publication_of(Warehouse(home)).publish()
    publication_of(Warehouse(home)).erase("secret-seller", [])
    assert b"secret-seller" not in home.analytics.read_bytes()
    with open_analytics(home) as analytics:
        assert analytics.table("clean_listings", columns=["listing_id"])["listing_id"].to_list() == ["L2"]
