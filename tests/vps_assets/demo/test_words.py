"""What the demo's sellers say: true but for the liars, each fact by its chance."""

from dataclasses import replace

import numpy as np
import pytest

from vps_assets.demo.catalogue import BRANDS, Item
from vps_assets.demo.words import BROKEN, CONDITION_MISSING, MANNERS, PRICED_TITLE_SHARE, TOLD, Said, manners, said
from vps_ml.words.masking import masked

ITEM = Item("phone", "Aldera", "black", "plain", "XL", "limited", 0.05, works=False, receipt=True)
COUNT = 4000


def spoken(manner: str, monkeypatch: pytest.MonkeyPatch, item: Item = ITEM) -> list[Said]:
    monkeypatch.setattr("vps_assets.demo.words.OWN_MANNER", 1.0)
    rng = np.random.default_rng(0)
    return [said(item, manner, 123.0, rng) for _ in range(COUNT)]


def share(texts: list[str | None], word: str) -> float:
    return float(np.mean([word.lower() in (text or "").lower() for text in texts]))


def test_a_plain_seller_tells_the_truth_each_fact_by_its_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    all_said = spoken("plain", monkeypatch)
    anywhere = [f"{one.title} {one.description}" for one in all_said]
    for fact, word in {"brand": "aldera", "size": "size xl", "defect": "not working", "receipt": "receipt"}.items():
        told_once_or_twice = 1 - (1 - TOLD[fact]) ** 2
        assert share(anywhere, word) == pytest.approx(told_once_or_twice, abs=0.03), fact
    assert not any(share(anywhere, brand) for brand in BRANDS if brand != "Aldera")
    sound = spoken("plain", monkeypatch, replace(ITEM, works=True, receipt=False))
    assert not share([f"{one.title} {one.description}" for one in sound], "not working")


def test_a_liar_names_any_brand_and_a_silent_one_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share([one.title for one in spoken("wrong", monkeypatch)], "aldera") < 0.4
    assert all(one.title is None and one.description is None for one in spoken("silent", monkeypatch))
    assert share([one.title for one in spoken("foreign", monkeypatch)], "handy") == 1
    assert all(one.description is None for one in spoken("terse", monkeypatch))


def test_some_titles_hold_the_asking_price_and_none_does_once_it_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [one.title or "" for one in spoken("plain", monkeypatch)]
    assert share(titles, "123") == pytest.approx(PRICED_TITLE_SHARE, abs=0.008)
    assert not share([masked(title)[0] for title in titles], "123")


def test_the_condition_is_kinder_than_the_truth_and_missing_at_its_share() -> None:
    rng = np.random.default_rng(0)
    labels = [said(replace(ITEM, wear=0.7), "plain", 1.0, rng).condition for _ in range(COUNT)]
    assert labels.count(None) / COUNT == pytest.approx(CONDITION_MISSING, abs=0.02)
    assert labels.count(BROKEN) / COUNT == pytest.approx(0.6 * (1 - CONDITION_MISSING), abs=0.03)
    assert set(labels) == {None, BROKEN, "poor", "fair", "good"}


def test_manners_come_at_their_shares() -> None:
    drawn = manners(np.random.default_rng(0), COUNT)
    for manner, expected in MANNERS.items():
        assert drawn.count(manner) / COUNT == pytest.approx(expected, abs=0.02)
