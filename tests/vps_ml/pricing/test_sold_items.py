"""The sold items that are most like an item: of its category, sold before, none twice and never itself."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.artefacts import Artefacts
from vps_ml.pricing.sold_items import SHOWN, SoldItems

FIRST = date(2024, 5, 1)


def sold(
    points: np.ndarray,
    categories: list[str] | None = None,
    days: list[int] | None = None,
    groups: list[str] | None = None,
    photos: list[str] | None = None,
) -> SoldItems:
    """Sold items at these points; by default of one category, sold on one day, each a group and photo of its own."""
    count = len(points)
    items = pl.DataFrame(
        {
            "listing_id": [f"L{i}" for i in range(count)],
            "category": categories or ["phone"] * count,
            "sold_on": [FIRST + timedelta(days=day) for day in days or [0] * count],
            "sold_price": [float(10 + i) for i in range(count)],
            "group_key": groups or [f"g{i}" for i in range(count)],
            "photo_hash": photos or [f"p{i}" for i in range(count)],
        }
    )
    half = torch.from_numpy(np.float16(points))
    norms, scale = half.float().square().sum(dim=1), np.ones(points.shape[1], dtype=np.float32)
    return SoldItems(items, half, norms, scale, np.arange(count))


def line(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def shown(items: SoldItems, at: float, **changed: object) -> list[str]:
    """The listings beside an item at this point of a line, listed two days after the first."""
    asked = {"category": "phone", "before": FIRST + timedelta(days=2), "group": None, "photos": set()} | changed
    return items.items["listing_id"][items.similar(np.array([at], dtype=np.float32), **asked)].to_list()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 1.0]), st.integers(1, 12))
def test_the_nearest_are_those_that_single_precision_finds_however_close_they_are(
    seed: int, spread: float, count: int
) -> None:
    """Half precision's products are rounded by up to a thousandth: items may be closer than that, or equal."""
    rng = np.random.default_rng(seed)
    points = np.float16(rng.normal(size=16) + spread * rng.normal(size=(300, 16)))
    items, point = sold(points), np.float16(rng.normal(size=16)).astype(np.float32)
    apart = np.square(points[20:260].astype(np.float32) - point).sum(axis=1)
    expected = 20 + np.argsort(apart, kind="stable")[:count]
    found = items.nearest(point, 20, 260, count)
    assert np.allclose(apart[found - 20], apart[expected - 20], rtol=1e-6)
    assert len(set(found.tolist())) == count


def test_of_equally_near_items_the_first_come_first() -> None:
    assert sold(line(1, 1, 1, 1)).nearest(np.ones(1, dtype=np.float32), 0, 4, 3).tolist() == [0, 1, 2]


def test_what_is_shown_is_of_the_category_and_was_sold_before_the_day() -> None:
    items = sold(line(0, 1, 2, 0, 0.5), ["dress", "phone", "phone", "phone", "phone"], [0, 0, 1, 2, 3])
    assert shown(items, 0.0) == ["L1", "L2"]


def test_no_item_is_shown_twice_and_never_the_offered_one() -> None:
    items = sold(
        line(0, 1, 2, 3, 4, 5), groups=["own", "a", "a", "b", "c", "d"], photos=["x", "x", "y", "z", "own", "w"]
    )
    assert shown(items, 0.0, group="own", photos={"own"}) == ["L1", "L3", "L5"]


def test_the_search_goes_on_until_enough_other_items_are_found() -> None:
    """Fifty listings of one item are nearest: it is shown once, and the others that are further away."""
    items = sold(line(*[0.0] * 50, 1, 2, 3, 4, 5), groups=["many"] * 50 + list("abcde"))
    assert shown(items, 0.0) == ["L0", "L50", "L51", "L52", "L53"]
    assert len(shown(items, 0.0)) == SHOWN


def test_nothing_is_shown_of_a_category_that_has_sold_nothing() -> None:
    assert shown(sold(line(1, 2)), 0.0, category="sofa") == []
    assert shown(sold(line(1, 2)), 0.0, before=FIRST) == []


def test_sold_items_are_the_same_after_they_are_stored(tmp_path: Path) -> None:
    rng, artefacts = np.random.default_rng(0), Artefacts(tmp_path)
    items = sold(rng.normal(size=(40, 3)), days=sorted(rng.integers(0, 9, 40).tolist()))
    artefacts.models.make("1" * 16, lambda: items.contents("a model"))
    stored = SoldItems.load(artefacts, "1" * 16)
    assert stored.items.equals(items.items)
    assert torch.equal(stored.points, items.points)
    point = rng.normal(size=3).astype(np.float32)
    day = FIRST + timedelta(days=5)
    similar = items.similar(point, "phone", day, None, []).tolist()
    assert stored.similar(point, "phone", day, None, []).tolist() == similar
    assert len(similar) == SHOWN
    assert stored.has_photo("p7")
    assert not stored.has_photo("p40")


def test_a_damaged_file_of_sold_items_is_not_read(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    artefacts.models.make("1" * 16, lambda: sold(line(1, 2, 3)).contents("a model"))
    file = artefacts.models.folder / ("1" * 16) / "items.arrow"
    file.write_bytes(file.read_bytes().replace(b"L1", b"L2"))
    with pytest.raises(RuntimeError, match="not what was written"):
        SoldItems.load(artefacts, "1" * 16)
