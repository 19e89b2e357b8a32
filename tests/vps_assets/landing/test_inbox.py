"""The inbox: what becomes of a file that is dropped there."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from scenario import listing, listings_file

from vps_assets.home import Home
from vps_assets.landing.inbox import dropped, take_in
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_rows


def test_photos_hidden_files_and_files_on_their_way_are_left_alone(home: Home) -> None:
    home.inbox.mkdir(parents=True)
    for name in ("photo.jpg", ".hidden.csv", "upload.csv.part", "ready.csv", "notes.xlsx"):
        (home.inbox / name).touch()
    (home.inbox / "folder.csv").mkdir()
    assert {file.name for file in dropped(home.inbox)} == {"ready.csv", "notes.xlsx"}


def test_a_good_file_lands_and_moves(home: Home) -> None:
    listings_file(home.inbox, [listing(1), listing(2)], "day.parquet")
    taken = take_in(["day.parquet"], home, print)
    assert taken.landed["day.parquet"].rows == 2
    assert (home.inbox / "landed" / "day.parquet").exists()
    assert landed_rows(home, ["listing_id"])["listing_id"].sort().to_list() == ["L1", "L2"]


def test_a_refused_file_moves_with_its_reason_and_keeps_no_other_out(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "good.parquet")
    (home.inbox / "bad.csv").write_text("listing_id,price\n1,2\n")
    taken = take_in(["bad.csv", "good.parquet"], home, print)
    assert list(taken.refused) == ["bad.csv"]
    assert list(taken.landed) == ["good.parquet"]
    assert "listed_at" in (home.inbox / "refused" / "bad.csv.reason.txt").read_text()
    assert {path.name for path in home.inbox.iterdir()} == {"landed", "refused", "1.png"}


def test_a_second_file_of_the_same_name_does_not_overwrite_the_first(home: Home) -> None:
    for number in (1, 2):
        listings_file(home.inbox, [listing(number)], "day.parquet")
        take_in(["day.parquet"], home, print)
    assert {path.name for path in (home.inbox / "landed").iterdir()} == {"day.parquet", "day.2.parquet"}


def test_a_file_whose_run_was_killed_after_it_landed_is_put_away_and_lands_nothing_twice(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    shutil.copy2(home.inbox / "day.parquet", home.inbox / "again.parquet")
    take_in(["day.parquet"], home, print)
    assert take_in(["again.parquet"], home, print).landed["again.parquet"].already_landed
    assert len(list(home.landing.glob("*.parquet"))) == 1


def test_a_link_is_refused_whatever_it_points_at(home: Home, tmp_path: Path) -> None:
    outside = listings_file(tmp_path / "outside", [listing(1)], "day.parquet")
    home.inbox.mkdir(parents=True)
    (home.inbox / "link.parquet").symlink_to(outside)
    assert list(take_in(["link.parquet"], home, print).refused) == ["link.parquet"]
    assert outside.exists()
    assert not dropped(home.inbox)


def test_what_goes_wrong_with_one_file_leaves_it_and_lands_the_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings_file(home.inbox, [listing(1)], "one.parquet")
    listings_file(home.inbox, [listing(2)], "two.parquet")

    def full(frame: pl.DataFrame, *args: object, **named: object) -> None:
        if frame["listing_id"].to_list() == ["L1"]:
            raise OSError(28, "No space left on device")
        return to_arrow(frame, *args, **named)

    to_arrow = pl.DataFrame.to_arrow
    monkeypatch.setattr(pl.DataFrame, "to_arrow", full)
    taken = take_in(["one.parquet", "two.parquet"], home, print)
    assert "No space left" in taken.failed["one.parquet"]
    assert list(taken.landed) == ["two.parquet"]
    assert (home.inbox / "one.parquet").exists()
    assert not list(home.landing.glob(".*"))


def test_a_file_that_is_replaced_while_it_lands_is_not_put_away_unlanded(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    newer = listings_file(tmp_path, [listing(2)], "day.parquet")
    shutil.copy(tmp_path / "2.png", home.inbox)

    def and_another_comes(*arguments: object) -> list:
        done = land(*arguments)
        newer.rename(home.inbox / "day.parquet")
        return done

    monkeypatch.setattr("vps_assets.landing.inbox.land", and_another_comes)
    assert list(take_in(["day.parquet"], home, print).failed) == ["day.parquet"]
    monkeypatch.undo()
    assert list(take_in(["day.parquet"], home, print).landed) == ["day.parquet"]
    assert landed_rows(home, ["listing_id"])["listing_id"].sort().to_list() == ["L1", "L2"]
