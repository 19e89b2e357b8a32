"""The demo marketplace's photos."""

from pathlib import Path

import pytest

from vps_assets.demo.catalogue import CATEGORIES, FAULTS, Item
from vps_assets.demo.photos import draw_photo
from vps_ml.photos.decoding import open_photo
from vps_ml.photos.quality import photo_quality, unqualified_reason

ITEM = Item("phone", "Aldera", "blue", "plain", "L", "classic", 0.1)


def test_the_same_seed_draws_the_same_photo() -> None:
    assert draw_photo(ITEM, None, (0, 1)) == draw_photo(ITEM, None, (0, 1))


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_photo_of_every_category_is_a_jpeg_of_96_to_256_px(category: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(
        draw_photo(Item(category, "Fennimore", "red", "striped", "S", "limited", 0.9), None, (3,))
    )
    photo = open_photo(tmp_path / "a.jpg")
    assert 96 <= min(photo.size) <= max(photo.size) <= 256
    assert unqualified_reason(photo_quality(photo)) == "too_little_information"


@pytest.mark.parametrize(("fault", "reason"), [("blur", "blurred"), ("dark", "dark"), ("overexposed", "overexposed")])
def test_most_photos_with_a_measurable_fault_are_measured_so(fault: str, reason: str, tmp_path: Path) -> None:
    found = 0
    for i in range(30):
        item = Item(list(CATEGORIES)[i % 13], "Fennimore", "red", "dotted", "M", "classic", 0.4)
        (tmp_path / "a.jpg").write_bytes(draw_photo(item, fault, (i,)))
        found += unqualified_reason(photo_quality(open_photo(tmp_path / "a.jpg"))) == reason
    assert found >= 27


def test_every_fault_changes_the_photo() -> None:
    assert len({draw_photo(ITEM, fault, (5,)) for fault in (None, *FAULTS)}) == 6
