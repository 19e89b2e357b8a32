"""Listing files: formats, types, and the row kept as it came."""

import json
from pathlib import Path

import polars as pl
import pytest
from scenario import ALL, listing, listings_file, noon, photo, quiet, rows_landed

from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_rows


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_every_format_lands_the_same_rows(home: Home, tmp_path: Path, name: str) -> None:
    rows = rows_landed(home, [listing(i) for i in range(4)], tmp_path, name)
    assert rows["landing_reasons"].to_list() == [[]] * 4
    assert rows["price"].to_list() == [12.0, 13.0, 14.0, 15.0]
    assert rows["listed_at"].to_list() == [noon(1), noon(2), noon(3), noon(4)]
    assert rows["attributes"].to_list() == [["white", "cotton"]] * 4


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_file_that_comes_in_batches_lands_as_it_does_whole(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = listings_file(tmp_path, [listing(i, price=-1.0 if i == 4 else 5.0) for i in range(7)], name)
    first = land([path], None, home, quiet)[0]
    monkeypatch.setattr("vps_assets.landing.files.BATCH_ROWS", 3)
    again = land([path], None, home, quiet)[0]
    assert (
        (first.rows, first.bad, first.already_landed)
        == (again.rows, again.bad, not again.already_landed)
        == (7, 1, False)
    )
    elsewhere = Home(tmp_path / "elsewhere")
    land([path], None, elsewhere, quiet)
    rows = landed_rows(elsewhere, ALL).drop("landed_at")
    assert rows.equals(landed_rows(home, ALL).drop("landed_at"))
    assert pl.read_parquet(next(elsewhere.landing.iterdir()))["line"].to_list() == list(range(7))


def test_a_text_price_is_a_reason_and_the_row_is_kept_as_it_came(home: Home, tmp_path: Path) -> None:
    photo(tmp_path / "1.png")
    (tmp_path / "a.csv").write_text("listing_id,listed_at,category,image_path,price\n1,2024-01-02,c,1.png,ten euros\n")
    land([tmp_path / "a.csv"], None, home, quiet)
    row = landed_rows(home, ALL).row(0, named=True)
    assert row["landing_reasons"] == ["price is not a number"]
    assert json.loads(row["row"])["price"] == "ten euros"


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


def test_unknown_columns_are_named_and_kept_out(home: Home, tmp_path: Path) -> None:
    first = land([listings_file(tmp_path, [listing(1) | {"colour_of_car": "red"}])], None, home, quiet)
    assert first[0].unknown_columns == ("colour_of_car",)


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


HEADER = "listing_id,listed_at,category,image_path\n"
ODD_FILES = {
    "lines that end with CR": (HEADER.replace("\n", "\r") + "1,2024-01-02,c,1.png\r", "end with CR alone"),
    "semicolons": (HEADER.replace(",", ";"), r"Found: listing_id;listed_at;.* separated by ';'"),
    "tabs": (HEADER.replace(",", "\t"), r"separated by '.t'"),
    "UTF-16": (HEADER.encode("utf-16"), "UTF-16, not UTF-8"),
    "another language's names": ("Nummer,Tag\n1,2\n", "Found: Nummer, Tag"),
    "a cell of 2 MB": (
        HEADER + "1,2024-01-02,c," + "x" * 2_000_000 + "\n",
        "cell of image_path is longer than 1,000,000",
    ),
}


@pytest.mark.parametrize("what", ODD_FILES)
def test_an_odd_text_file_is_refused_and_says_what_was_found(home: Home, tmp_path: Path, what: str) -> None:
    content, words = ODD_FILES[what]
    (tmp_path / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RefusedFile, match=words):
        land([tmp_path / "a.csv"], None, home, quiet)
    assert not list(home.landing.glob("*"))


def test_a_long_cell_within_lists_is_refused_too(home: Home, tmp_path: Path) -> None:
    row = listing(1) | {"attributes": ["a" * 600_000, "b" * 600_000]}
    with pytest.raises(RefusedFile, match="a cell of attributes"):
        rows_landed(home, [row], tmp_path, "a.parquet")


def test_blank_lines_are_no_rows(home: Home, tmp_path: Path) -> None:
    photo(tmp_path / "1.png")
    (tmp_path / "a.csv").write_text(f"{HEADER}\n1,2024-01-02,c,1.png\n\n   \n,,,\n\n2,2024-01-03,c,1.png\n\n")
    (landing,) = land([tmp_path / "a.csv"], None, home, quiet)
    assert (landing.rows, landing.bad) == (2, 0)
