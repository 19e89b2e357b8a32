"""What makes a landed row bad."""

from datetime import timedelta
from pathlib import Path

import pytest
from scenario import listing, listings_file, noon, quiet, rows_landed

from vps_assets.home import Home
from vps_assets.landing import rules
from vps_assets.landing.land import land


def reasons(home: Home, folder: Path, **changed: object) -> list[str]:
    """Why a row with these changes is bad."""
    return rows_landed(home, [listing(1, **changed)], folder)["landing_reasons"].to_list()[0]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"price": 0.0}, ["price is not positive"]),
        ({"price": float("nan")}, ["price is not a number"]),
        ({"price": 1e12}, ["price is 1e+12 or more"]),
        ({"sold_price": 3e18}, ["sold_price is 1e+12 or more"]),
        ({"sold_price": -2.0}, ["sold_price is not positive"]),
        ({"category": None}, ["category is missing"]),
        ({"category": "  "}, ["category is missing"]),
        ({"sold_at": noon(1)}, ["sold before it was listed"]),
        ({"sold_at": None}, ["sold_price without sold_at"]),
        ({"sold_price": None}, ["sold_at without sold_price"]),
        ({"listed_at": None}, ["listed_at is missing"]),
        ({"image_path": "../1.png"}, ["image_path leaves the image folder"]),
        ({"image_path": None}, ["image_path is missing"]),
        (
            {"listed_at": noon(1).replace(year=2999), "sold_at": None, "sold_price": None},
            ["listed_at lies in the future"],
        ),
        ({"category": "all"}, ["category may not be called all: reports use that name"]),
        ({"image_path": "a\0.png"}, ["photo cannot be decoded: embedded null byte"]),
        ({"price": -1.0, "category": None}, ["category is missing", "price is not positive"]),
    ],
)
def test_a_bad_row_lands_with_every_reason(home: Home, tmp_path: Path, changed: dict, expected: list[str]) -> None:
    assert reasons(home, tmp_path, **changed) == expected


def test_a_row_that_was_ahead_of_time_is_good_once_its_time_has_come(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listings_file(tmp_path, [listing(1, listed_at=noon(1).replace(year=2999), sold_at=None, sold_price=None)])
    assert land([path], None, home, quiet)[0].bad == 1
    monkeypatch.setattr(rules, "CLOCK_TOLERANCE", timedelta(days=365 * 2000))
    first = land([path], None, home, quiet)[0]
    assert (first.bad, first.already_landed) == (0, False)
