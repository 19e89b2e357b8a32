"""What is published is served, and what cannot be loaded is not."""

import time
from pathlib import Path

import polars as pl
import pytest
from conftest import Marketplace
from publications import published_again

from vps_assets.home import Home
from vps_assets.serving.renewal import Renewal


@pytest.fixture
def home(marketplace: Marketplace, tmp_path: Path) -> Home:
    """A copy whose publication the tests may change."""
    return marketplace.copied(tmp_path / "home")


def test_the_next_publication_takes_over_what_is_still_champion(home: Home) -> None:
    renewal = Renewal(home)
    renewal.look()
    first = renewal.in_force()
    assert set(first.champions.model_ids()) == {"photo", "words", "both"}
    renewal.look()
    assert renewal.in_force() is first, "nothing else was published"
    published_again(home, "update clean_listings set sold_on = date '2031-01-01' where listing_id = 'L00001'")
    renewal.look()
    second = renewal.in_force()
    assert second is not first
    assert second.champions.of("both").predictor is first.champions.of("both").predictor
    assert first.champions.of("both").extractors is first.champions.of("photo").extractors, "the same networks once"


def test_a_promotion_is_served(home: Home, marketplace: Marketplace) -> None:
    renewal = Renewal(home)
    renewal.look()
    (other,) = marketplace.query("""
        select model_id from percentile_pricing_models
        where objective = 'blended' and constraint_value = 0.3 and split_kind = 'group' limit 1
    """)[0]
    published_again(home, f"update champion_model set model_id = '{other}', served_as = null where inputs = 'photo'")
    renewal.look()
    assert renewal.in_force().champions.model_ids()["photo"] == other


def test_a_publication_that_does_not_load_leaves_the_one_before_and_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewal = Renewal(home)
    renewal.look()
    before = renewal.in_force()
    published_again(home, "update champion_model set model_id = 'gone', served_as = null where inputs = 'words'")
    renewal.look()
    assert renewal.in_force() is before
    assert renewal.failure is not None
    assert "gone" in renewal.failure
    published_again(
        home, f"update champion_model set model_id = '{before.champions.model_ids()['words']}' where inputs = 'words'"
    )
    renewal.look()
    assert renewal.failure is None
    assert renewal.in_force() is not before


@pytest.mark.parametrize("error", [PermissionError("no"), pl.exceptions.PanicException("a panic")])
def test_whatever_goes_wrong_the_one_before_serves_and_it_is_looked_for_another(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """As with a folder that cannot be read for a while, or a library that panics, which is no Exception."""

    def fails(_: object) -> None:
        raise error

    renewal = Renewal(home)
    renewal.look()
    before = renewal.in_force()
    with monkeypatch.context() as patched:
        patched.setattr("vps_assets.serving.renewal.publication_of", fails)
        renewal.look()
        assert renewal.failure == str(error)
    home.analytics.rename(home.analytics.with_name("away"))
    renewal.look()
    assert renewal.in_force() is before
    assert "no champion" in str(renewal.failure)


def test_what_failed_is_tried_again_after_a_while(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a publication lacks may have been mended without another one."""
    renewal, fails = Renewal(home), [True]

    def read(_: Home, __: object) -> object:
        if fails:
            raise OSError("the disk is busy")
        return snapshot

    renewal.look()
    snapshot = renewal.in_force()
    monkeypatch.setattr("vps_assets.serving.renewal.Snapshot.read", read)
    published_again(home, "update clean_listings set sold_on = sold_on")
    renewal.look()
    fails.clear()
    renewal.look()
    assert renewal.failure == "the disk is busy", "not at once"
    monkeypatch.setattr("vps_assets.serving.renewal.TRIES_AGAIN_AFTER_S", 0.0)
    time.sleep(0.01)
    renewal.look()
    assert renewal.failure is None
