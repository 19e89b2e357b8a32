"""One suggestion: what it is made from, and what it says where there is nothing to suggest with."""

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from vps_assets.commands import suggest
from vps_assets.commands.suggest import suggest_one
from vps_assets.errors import NoChampion, UserError
from vps_assets.home import Home
from vps_assets.serving.categories import Categories
from vps_assets.serving.offers import Offer
from vps_assets.tables.listings import CLEAN_LISTINGS
from vps_ml.features.tabular import TABULAR, TabularColumn, log_count


def test_there_is_none_without_a_champion(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NoChampion, match="run `vps demo`"):
        suggest_one(Offer("phone", tmp_path / "photo.jpg"), home)


@pytest.mark.parametrize(
    ("offer", "said"),
    [(Offer("phnoe", title="a phone"), "is it 'phone'"), (Offer("spaceship", title="one"), "there is phone, shoes$"),
     (Offer("phone"), "neither a photo nor words"), (Offer("phone", Path(__file__)), "not a JPEG, PNG or WebP")],
)  # fmt: skip
def test_what_is_wrong_whatever_the_models_say_is_said_before_they_are_loaded(
    home: Home, monkeypatch: pytest.MonkeyPatch, offer: Offer, said: str
) -> None:
    monkeypatch.setattr(suggest, "published_categories", lambda _: Categories.of(["shoes", "phone"]))
    monkeypatch.setitem(sys.modules, "vps_assets.serving.snapshot", None)  # so that importing it, and torch, fails
    with pytest.raises(UserError, match=re.escape(said).replace(r"\$", "$")):
        suggest_one(offer, home)


def test_a_process_that_suggests_does_without_dagster_its_records_and_scikit_learn() -> None:
    """Each takes as long to import as a suggestion to make."""
    there = "[name for name in ('dagster', 'sqlalchemy', 'sklearn', 'matplotlib') if name in sys.modules]"
    script = f"import sys, vps_assets.cli, vps_assets.serving.snapshot, vps_ml.pricing.trees; print({there})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_column_that_the_seller_has_not_given_is_missing() -> None:
    """Of its own type, so that what encodes it in training does so here."""
    row = Offer("phone").row()
    assert row["brand"].str.len_chars().to_list() == row["attributes"].list.len().to_list() == [None]
    assert row["price"].to_list() == [None]
    assert not [name for name in row.columns if "_median" in name], "statistics are joined to it"
    assert row.schema["seller_id"] == pl.String


def test_words_are_those_that_would_land() -> None:
    row = Offer("phone", title=" Aldera\u202e\n phone ", description="\x00", condition="new").row()
    assert row.select("title", "description", "condition").row(0) == ("Aldera phone", None, "new")
    assert Offer("phone", title="\u200b\u00ad").row()["title"].to_list() == [None]
    with pytest.raises(UserError, match="title is longer than 2,000 characters"):
        Offer("phone", title="a" * 2001).row()


def test_a_column_named_like_a_statistic_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rated = CLEAN_LISTINGS.add_columns({"seller_rating": CLEAN_LISTINGS.columns["price"]})
    monkeypatch.setattr("vps_assets.serving.offers.CLEAN_LISTINGS", rated)
    monkeypatch.setitem(TABULAR, "seller_rating", TabularColumn(log_count))
    assert "seller_rating" in Offer("phone", seller="ann").row().columns
