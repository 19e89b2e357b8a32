"""A column that the listings gain: landings and tables of before stay readable, and have nulls in it."""

from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import vps
from scenario import listing, listings_file, quiet

from vps_assets.home import Home
from vps_assets.landing import cells, land, landed, rules
from vps_assets.tables import listings
from vps_assets.tables.columns import column, table
from vps_assets.tables.listings import RAW_LISTINGS
from vps_assets.warehouse.database import Warehouse


def with_material(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As if `LANDED` had a column `material` from now on; the columns of `raw_listings`."""
    gained = listings.LANDED | {"material": column(pl.String, "What it is made of", null=True)}
    raw = table("raw_listings", gained | {n: c for n, c in RAW_LISTINGS.columns.items() if n not in gained})
    types = {name: spec.dtype.type for name, spec in gained.items()}
    for module in (cells, rules):
        monkeypatch.setattr(module, "COLUMN_TYPES", types)
    monkeypatch.setattr(landed, "RAW_LISTINGS", raw)
    return list(raw.columns)


def test_a_landing_of_before_has_null_in_a_new_column_and_a_new_one_its_value(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land.land([listings_file(tmp_path / "a", [listing(1)])], None, home, quiet)
    columns = with_material(monkeypatch)
    assert landed.landed_rows(home, columns)["material"].to_list() == [None]
    land.land([listings_file(tmp_path / "b", [listing(2) | {"material": "oak"}])], None, home, quiet)
    rows = landed.landed_rows(home, columns).sort("listing_id")
    assert rows["material"].to_list() == [None, "oak"]
    assert rows["price"].to_list() == [13.0, 14.0]
    assert landed.all_landed(home, ["listing_id", "material"], "S2").rows() == [("L2", "oak")]


def test_whichever_landing_comes_first_by_name_decides_nothing(home: Home, tmp_path: Path) -> None:
    """The files are read by column name: their order, and the order of their columns, do not matter."""
    land.land([listings_file(tmp_path / "a", [listing(1), listing(2)])], None, home, quiet)
    (file,) = home.landing.iterdir()
    rows = pl.read_parquet(file)
    rows.filter(pl.col("listing_id") == "L2").select(reversed(rows.columns)).write_parquet(
        home.landing / "0000.parquet"
    )
    rows.filter(pl.col("listing_id") == "L1").drop("brand").write_parquet(file)
    found = landed.landed_rows(home, ["listing_id", "brand", "price"]).sort("listing_id")
    assert found.rows() == [("L1", None, 13.0), ("L2", "Acme", 14.0)]


@pytest.mark.slow
def test_a_data_directory_of_before_runs_on_with_a_landing_that_lacks_a_column(home: Home, tmp_path: Path) -> None:
    """As one made by an older version: the landed files, and the table in the warehouse, have no `brand`."""
    land.land([listings_file(tmp_path / "a", [listing(n) for n in range(1, 6)])], None, home, quiet)
    for file in home.landing.iterdir():
        pl.read_parquet(file).drop("brand").write_parquet(file)
    before = landed.landed_rows(home, list(RAW_LISTINGS.columns)).drop("brand")
    Warehouse(home).replace("raw_listings", before, "true", [], landed.landed_index(home).fingerprints)
    land.land([listings_file(tmp_path / "b", [listing(9)])], None, home, quiet)
    ran = vps("run", "--select", "raw_listings", home=home.path)
    assert ran.returncode == 0, ran.stderr
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        brands = dict(connection.execute("select listing_id, brand from raw_listings").fetchall())
    assert brands == {**{f"L{n}": None for n in range(1, 6)}, "L9": "Acme"}
