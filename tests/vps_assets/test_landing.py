import json
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenario import listing, listings_file, noon, photo

from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import land, landed_rows
from vps_assets.tables.schemas import RAW_LISTINGS

ALL = list(RAW_LISTINGS.columns)


def quiet(message: str) -> None:
    """No progress."""


def landed(home: Home, rows: list[dict], folder: Path, name: str = "listings.parquet") -> pl.DataFrame:
    land([listings_file(folder, rows, name)], None, home, quiet)
    return landed_rows(home, ALL).sort("listing_id")


def reasons(home: Home, folder: Path, **changed: object) -> list[str]:
    """Why a row with these changes is bad."""
    return landed(home, [listing(1, **changed)], folder)["landing_reasons"].to_list()[0]


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_every_format_lands_the_same_rows(home: Home, tmp_path: Path, name: str) -> None:
    rows = landed(home, [listing(i) for i in range(4)], tmp_path, name)
    assert rows["landing_reasons"].to_list() == [[]] * 4
    assert rows["price"].to_list() == [12.0, 13.0, 14.0, 15.0]
    assert rows["listed_at"].to_list() == [noon(1), noon(2), noon(3), noon(4)]
    assert rows["attributes"].to_list() == [["white", "cotton"]] * 4


def test_a_good_photo_is_stored_by_its_hash_once(home: Home, tmp_path: Path) -> None:
    rows = landed(home, [listing(1), listing(2, image_path="1.png")], tmp_path)
    assert rows["photo_hash"].n_unique() == 1
    assert home.photo(rows["photo_hash"][0]).read_bytes() == (tmp_path / "1.png").read_bytes()


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_file_that_comes_in_batches_lands_as_it_does_whole(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = listings_file(tmp_path, [listing(i, price=-1.0 if i == 4 else 5.0) for i in range(7)], name)
    told = land([path], None, home, quiet)[0]
    monkeypatch.setattr("vps_assets.landing.files.BATCH_ROWS", 3)
    again = land([path], None, home, quiet)[0]
    assert (
        (told.rows, told.bad, told.already_landed) == (again.rows, again.bad, not again.already_landed) == (7, 1, False)
    )
    elsewhere = Home(tmp_path / "elsewhere")
    land([path], None, elsewhere, quiet)
    rows = landed_rows(elsewhere, ALL).drop("landed_at")
    assert rows.equals(landed_rows(home, ALL).drop("landed_at"))
    assert pl.read_parquet(next(elsewhere.landing.iterdir()))["line"].to_list() == list(range(7))


def test_a_file_that_breaks_off_in_the_middle_is_refused_and_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vps_assets.landing.files.BATCH_ROWS", 2)
    good = listings_file(tmp_path, [listing(1)])
    listings_file(tmp_path, [listing(i) for i in range(6)], "b.csv")
    broken = tmp_path / "b.csv"
    text = broken.read_text().splitlines()
    broken.write_text("\n".join([*text[:5], text[5] + ",one,two,many", *text[6:]]) + "\n")
    with pytest.raises(RefusedFile, match=r"b\.csv: cannot be read"):
        land([good, broken], None, home, quiet)
    assert list(home.landing.iterdir()) == []


def test_landing_twice_is_landing_once(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1), listing(2)])
    first, second = (land([path], None, home, quiet)[0] for _ in range(2))
    assert (first.already_landed, second.already_landed) == (False, True)
    assert len(list(home.landing.glob("*.parquet"))) == 1


def test_an_open_listing_that_was_sold_since_replaces_its_row(home: Home, tmp_path: Path) -> None:
    landed(home, [listing(1, sold_at=None, sold_price=None)], tmp_path / "a")
    rows = landed(home, [listing(1)], tmp_path / "b")
    assert rows["sold_price"].to_list() == [11.0]


def test_the_later_of_two_rows_of_a_file_counts(home: Home, tmp_path: Path) -> None:
    assert landed(home, [listing(1, price=1.0), listing(1, price=2.0)], tmp_path)["price"].to_list() == [2.0]


def test_a_bad_row_never_replaces_a_good_one(home: Home, tmp_path: Path) -> None:
    landed(home, [listing(1)], tmp_path / "a")
    rows = landed(home, [listing(1, price=-1.0)], tmp_path / "b")
    assert sorted(len(r) for r in rows["landing_reasons"]) == [0, 1]


def test_a_good_row_does_away_with_the_bad_ones_before_it(home: Home, tmp_path: Path) -> None:
    landed(home, [listing(1, price=-1.0)], tmp_path / "a")
    assert landed(home, [listing(1)], tmp_path / "b")["landing_reasons"].to_list() == [[]]


def test_an_unchanged_row_stays_with_the_landing_that_brought_it(home: Home, tmp_path: Path) -> None:
    first = landed(home, [listing(1)], tmp_path / "a")["landing_id"][0]
    rows = landed(home, [listing(1), listing(2)], tmp_path / "a", "more.parquet")
    assert rows["landing_id"][0] == first
    assert rows["landing_id"][1] != first


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


def test_a_photo_that_is_no_photo_is_a_reason(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").write_bytes(b"<html>")
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [["photo cannot be decoded: it is not an image"]]


def test_a_missing_photo_is_a_reason(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").unlink()
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [["photo is missing"]]


def test_a_row_that_comes_again_with_another_fault_tells_that_one(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").unlink()
    land([path], None, home, quiet)
    (tmp_path / "1.png").write_bytes(b"<html>")
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [["photo cannot be decoded: it is not an image"]]


def test_a_text_price_is_a_reason_and_the_row_is_kept_as_it_came(home: Home, tmp_path: Path) -> None:
    photo(tmp_path / "1.png")
    (tmp_path / "a.csv").write_text("listing_id,listed_at,category,image_path,price\n1,2024-01-02,c,1.png,ten euros\n")
    land([tmp_path / "a.csv"], None, home, quiet)
    row = landed_rows(home, ALL).row(0, named=True)
    assert row["landing_reasons"] == ["price is not a number"]
    assert json.loads(row["row"])["price"] == "ten euros"


def test_a_row_without_a_date_lies_in_the_partition_of_its_landing_day(home: Home, tmp_path: Path) -> None:
    row = landed(home, [listing(1, listed_at=None)], tmp_path).row(0, named=True)
    assert row["listed_on"] == row["landed_at"].date()


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2024-01-02T03:00:00Z", 3), ("2024-01-02 03:00:00", 3), ("2024-01-02T03:00:00+02:00", 1), ("2024-01-02", 0)],
)
def test_timestamps_are_utc_unless_they_say_otherwise(home: Home, tmp_path: Path, text: str, hour: int) -> None:
    photo(tmp_path / "1.png")
    (tmp_path / "a.csv").write_text(f"listing_id,listed_at,category,image_path\n1,{text},c,1.png\n")
    land([tmp_path / "a.csv"], None, home, quiet)
    assert landed_rows(home, ALL)["listed_at"][0].hour == hour


def test_a_missing_column_refuses_the_whole_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("listing_id,category,image_path\n1,c,1.png\n")
    with pytest.raises(RefusedFile, match=r"a\.csv: required column listed_at is missing"):
        land([tmp_path / "a.csv"], None, home, quiet)
    assert not home.landing.exists()


def test_a_refused_file_keeps_its_companions_out_too(home: Home, tmp_path: Path) -> None:
    good = listings_file(tmp_path, [listing(1)])
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(RefusedFile, match=r"bad\.parquet: cannot be read"):
        land([good, tmp_path / "bad.parquet"], None, home, quiet)
    assert not home.landing.exists()


def test_a_second_currency_is_refused(home: Home, tmp_path: Path) -> None:
    landed(home, [listing(1)], tmp_path / "a")
    with pytest.raises(RefusedFile, match="EUR, GBP"):
        landed(home, [listing(2, currency="GBP")], tmp_path / "b")


def test_unknown_columns_are_named_and_kept_out(home: Home, tmp_path: Path) -> None:
    told = land([listings_file(tmp_path, [listing(1) | {"colour_of_car": "red"}])], None, home, quiet)
    assert told[0].unknown_columns == ("colour_of_car",)


def test_a_listing_that_came_back_to_what_it_was_is_not_quarantined(home: Home, tmp_path: Path) -> None:
    landed(home, [listing(1)], tmp_path / "a")
    landed(home, [listing(1, price=-1.0)], tmp_path / "b")
    rows = landed(home, [listing(1), listing(2)], tmp_path / "c")
    assert rows["landing_reasons"].to_list() == [[], []]


def test_a_file_that_was_overtaken_counts_again_when_it_lands_again(home: Home, tmp_path: Path) -> None:
    open_again = [listing(1, sold_at=None, sold_price=None)]
    landed(home, open_again, tmp_path / "a")
    landed(home, [listing(1)], tmp_path / "b")
    assert landed(home, open_again, tmp_path / "a")["sold_price"].to_list() == [None]


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
@settings(max_examples=12)
@given(st.lists(FILE, min_size=2, max_size=2), st.lists(st.integers(0, 1), min_size=1, max_size=4))
def test_what_is_in_force_is_what_one_row_after_the_other_comes_to(files: list, order: list[int]) -> None:
    with TemporaryDirectory() as folder:
        home, so_far = Home(Path(folder) / "home"), []
        for which in order:
            so_far.append(files[which])
            rows = [listing(number, price=PRICES[kind], image_path="1.png") for number, kind in files[which]]
            found = landed(home, rows, Path(folder)).with_columns(good=pl.col("landing_reasons").list.len() == 0)
            assert set(found.select("listing_id", "price", "good").iter_rows()) == in_force(so_far)
            assert land([Path(folder) / "listings.parquet"], None, home, quiet)[0].already_landed


def test_a_row_that_was_ahead_of_time_is_good_once_its_time_has_come(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from vps_assets.landing import rules as landing_rules

    path = listings_file(tmp_path, [listing(1, listed_at=noon(1).replace(year=2999), sold_at=None, sold_price=None)])
    assert land([path], None, home, quiet)[0].bad == 1
    monkeypatch.setattr(landing_rules, "CLOCK_TOLERANCE", timedelta(days=365 * 2000))
    told = land([path], None, home, quiet)[0]
    assert (told.bad, told.already_landed) == (0, False)


def test_bytes_in_a_column_are_left_out_of_the_kept_row(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    pl.read_parquet(path).with_columns(image=pl.lit(b"jpeg")).write_parquet(path)
    land([path], None, home, quiet)
    assert json.loads(landed_rows(home, ALL)["row"][0])["image"] == "(bytes)"


def test_coded_text_is_text(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1, category=" phone ")])
    pl.read_parquet(path).with_columns(pl.col("category").cast(pl.Categorical)).write_parquet(path)
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["category"].to_list() == ["phone"]
