"""One suggestion: what it is made from, and what it says where there is nothing to suggest with."""

from pathlib import Path

import polars as pl
import pytest

from vps_assets.commands.suggest import NoChampion, listing_of_today, suggest_one
from vps_assets.home import Home
from vps_assets.tables.listings import CLEAN_LISTINGS
from vps_ml.features.tabular import TABULAR, TabularColumn, log_count


def test_there_is_none_without_a_champion(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NoChampion, match="run `vps demo`"):
        suggest_one(tmp_path / "photo.jpg", "phone", None, home)


def test_a_column_that_the_seller_has_not_given_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own type, so that what encodes it in training does so here."""
    for name in ("brand", "attributes", "price"):
        monkeypatch.setitem(TABULAR, name, TabularColumn(log_count))
    row = listing_of_today("phone", None)
    assert row["brand"].str.len_chars().to_list() == row["attributes"].list.len().to_list() == [None]
    assert row["price"].to_list() == [None]
    assert set(row.columns) == {"listed_on", "category", "seller_id", "brand", "attributes", "price"}  # no statistics
    assert row.schema["seller_id"] == pl.String


def test_a_column_named_like_a_statistic_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rated = CLEAN_LISTINGS.add_columns({"seller_rating": CLEAN_LISTINGS.columns["price"]})
    monkeypatch.setattr("vps_assets.commands.suggest.CLEAN_LISTINGS", rated)
    monkeypatch.setitem(TABULAR, "seller_rating", TabularColumn(log_count))
    assert "seller_rating" in listing_of_today("phone", "ann").columns
