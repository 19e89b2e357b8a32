"""Sellers' words as they land: cleaned, bounded, and the row kept exactly as it came."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario import listing, listings_file, quiet, rows_landed

from vps_assets.home import Home
from vps_assets.landing.cells import typed_rows
from vps_assets.landing.land import content_of, land
from vps_assets.landing.landed import landed_rows

SAID = ["title", "description", "condition"]


def read(title: object, description: object = None) -> tuple:
    """(title, description) as they are read from a file."""
    types = {name: pl.String for name, value in (("title", title), ("description", description)) if value is None}
    raw = pl.DataFrame({"title": [title], "description": [description]}, schema_overrides=types)
    return typed_rows(raw).frame.select("title", "description").row(0)


def test_control_characters_go_and_only_a_description_keeps_its_lines() -> None:
    assert read("Lamp\u202e \x00 new\r\nred\t1", "one\ntwo\x07\u2028three") == ("Lamp new red 1", "one\ntwo  three")
    assert read("\x00\u200b"[:1], "  ") == (None, None)
    assert read("Größe 38 👟 ½", None) == ("Größe 38 👟 ½", None)


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_said_no_control_character_is_left_and_reading_again_changes_nothing(a: str, b: str) -> None:
    title, description = read(a, b)
    shown = (title or "") + (description or "").replace("\n", "").replace("\t", "")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert read(title, description) == (title, description)


@pytest.mark.parametrize(
    ("column", "most", "words"),
    [("title", 2_000, "2,000"), ("description", 20_000, "20,000"), ("condition", 200, "200")],
)
def test_words_beyond_their_bound_are_a_reason_and_the_row_is_kept_as_it_came(
    home: Home, tmp_path: Path, column: str, most: int, words: str
) -> None:
    rows = [listing(1) | {column: "a" * most}, listing(2) | {column: "\x00" + "ä" * (most + 1)}]
    landed = rows_landed(home, rows, tmp_path).sort("listing_id")
    assert landed["landing_reasons"].to_list() == [[], [f"{column} is longer than {words} characters"]]
    assert json.loads(landed["row"][1])[column] == "\x00" + "ä" * (most + 1)


def test_a_list_in_the_place_of_a_title_is_a_reason_and_a_number_is_a_title(home: Home, tmp_path: Path) -> None:
    landed = rows_landed(home, [listing(1) | {"title": ["a", "b"]}], tmp_path / "a")
    assert landed["landing_reasons"].to_list() == [["title is not a text"]]
    landed = rows_landed(home, [listing(2) | {"title": 501}], tmp_path / "b")
    assert landed.filter(pl.col("listing_id") == "L2")["title"].to_list() == ["501"]


def test_a_row_that_landed_before_words_were_read_gets_them_when_it_lands_again(home: Home, tmp_path: Path) -> None:
    """As a version before did: the title was an unknown column, in the row as it came but in no column."""
    path = listings_file(tmp_path, [listing(1) | {"title": "lamp"}, listing(2) | {"title": None}])
    land([path], None, home, quiet)
    (file,) = home.landing.iterdir()
    before = pl.read_parquet(file).drop(SAID)
    contents = [content_of(*row, False) for row in before.select("row", "photo_hash").iter_rows()]
    before.with_columns(content=pl.Series(contents), landing_id=pl.lit("before")).write_parquet(
        home.landing / "before.parquet"
    )
    file.unlink()
    assert landed_rows(home, ["title"])["title"].to_list() == [None, None]
    assert not land([path], None, home, quiet)[0].already_landed
    rows = landed_rows(home, ["listing_id", "title", "landing_id"]).sort("listing_id")
    assert rows["title"].to_list() == ["lamp", None]
    assert rows["landing_id"].to_list()[1] == "before", "what has no words is not touched"
    assert land([path], None, home, quiet)[0].already_landed
