"""Which of the landed rows are in force, and what planning needs of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenario import ALL, listing, listings_file, noon, quiet, rows_landed

from vps_assets.commands.forget import rewrite_landings
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.landed import first_landed_day, landed_index, landed_rows
from vps_assets.landing.landings import ForeignFile


def test_an_open_listing_that_was_sold_since_replaces_its_row(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1, sold_at=None, sold_price=None)], tmp_path / "a")
    rows = rows_landed(home, [listing(1)], tmp_path / "b")
    assert rows["sold_price"].to_list() == [11.0]


def test_the_later_of_two_rows_of_a_file_counts(home: Home, tmp_path: Path) -> None:
    assert rows_landed(home, [listing(1, price=1.0), listing(1, price=2.0)], tmp_path)["price"].to_list() == [2.0]


def test_a_bad_row_never_replaces_a_good_one(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1)], tmp_path / "a")
    rows = rows_landed(home, [listing(1, price=-1.0)], tmp_path / "b")
    assert sorted(len(r) for r in rows["landing_reasons"]) == [0, 1]


def test_a_good_row_does_away_with_the_bad_ones_before_it(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1, price=-1.0)], tmp_path / "a")
    assert rows_landed(home, [listing(1)], tmp_path / "b")["landing_reasons"].to_list() == [[]]


def test_an_unchanged_row_stays_with_the_landing_that_brought_it(home: Home, tmp_path: Path) -> None:
    first = rows_landed(home, [listing(1)], tmp_path / "a")["landing_id"][0]
    rows = rows_landed(home, [listing(1), listing(2)], tmp_path / "a", "more.parquet")
    assert rows["landing_id"][0] == first
    assert rows["landing_id"][1] != first


def test_a_row_that_comes_again_with_another_fault_has_that_reason(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").unlink()
    land([path], None, home, quiet)
    (tmp_path / "1.png").write_bytes(b"<html>")
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [
        ["photo cannot be decoded: it is not a JPEG, PNG or WebP image"]
    ]


def test_a_listing_that_came_back_to_what_it_was_is_not_quarantined(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1)], tmp_path / "a")
    rows_landed(home, [listing(1, price=-1.0)], tmp_path / "b")
    rows = rows_landed(home, [listing(1), listing(2)], tmp_path / "c")
    assert rows["landing_reasons"].to_list() == [[], []]


KIND = st.sampled_from(["good", "other", "bad", "worse"])


def in_force(files: list[list[tuple[int, str]]]) -> set[tuple[str, float | None, bool]]:
    """(listing, price, good) that count, one row after the other: slow, and as one would do it by hand."""
    good, bad = {}, {}
    for number, kind in (row for file in files for row in file):
        if kind in ("good", "other"):
            good[number] = kind
            bad.pop(number, None)
        else:
            bad[number] = kind
    kinds = [*good.items(), *bad.items()]
    return {(f"L{number}", PRICES[kind], PRICES[kind] > 0) for number, kind in kinds}


PRICES = {"good": 1.0, "other": 2.0, "bad": -1.0, "worse": -2.0}


FILE = st.lists(st.tuples(st.integers(1, 2), KIND), min_size=1, max_size=3)


@example([[(1, "bad"), (1, "good"), (1, "bad")], []], [0])
@example([[(1, "good"), (1, "bad")], [(1, "other"), (1, "bad")]], [0, 1, 0])
@settings(max_examples=8)
@given(st.lists(FILE, min_size=2, max_size=2), st.lists(st.integers(0, 1), min_size=1, max_size=4))
def test_what_is_in_force_is_what_one_row_after_the_other_comes_to(files: list, order: list[int]) -> None:
    with TemporaryDirectory() as folder:
        home, so_far = Home(Path(folder) / "home"), []
        for which in order:
            so_far.append(files[which])
            rows = [listing(number, price=PRICES[kind], image_path="1.png") for number, kind in files[which]]
            found = rows_landed(home, rows, Path(folder)).with_columns(good=pl.col("landing_reasons").list.len() == 0)
            assert set(found.select("listing_id", "price", "good").iter_rows()) == in_force(so_far)
            assert land([Path(folder) / "listings.parquet"], None, home, quiet)[0].already_landed


def test_landings_are_read_again_once_one_came_or_was_rewritten_and_not_before(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1), listing(2)])], None, home, print)
    index = landed_index(home)
    assert index.sales == 2
    assert landed_index(home) is index
    land([listings_file(home.path / "in", [listing(3)], "more.parquet")], None, home, print)
    assert landed_index(home).sales == 3
    rewrite_landings(home, listing(1)["seller_id"])
    assert landed_index(home).sales == 2


def test_a_file_that_is_no_landing_is_named_and_not_read_as_rows_without_keys(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1)], tmp_path)
    pl.DataFrame([listing(2)]).write_parquet(home.landing / "mine.parquet")
    with pytest.raises(ForeignFile, match="mine.parquet was not written by `vps land`"):
        landed_index(home)


def test_the_first_landed_day_is_of_all_rows_in_force_or_not(home: Home, tmp_path: Path) -> None:
    assert first_landed_day(home) is None
    rows_landed(home, [listing(4)], tmp_path / "a")
    rows_landed(home, [listing(4, listed_at=noon(9)), listing(12)], tmp_path / "b")
    assert str(first_landed_day(home)) == "2024-01-05"
