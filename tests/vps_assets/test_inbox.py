"""The inbox: what a tick asks for, and what becomes of a file."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from scenario import listing, listings_file

from vps_assets.home import Home
from vps_assets.landing.inbox import Dropped, decide, dropped, take_in
from vps_assets.landing.land import land, landed_rows

A, B = Dropped("a.csv", 10, 1), Dropped("b.csv", 20, 2)


def ticks(*seen: list[Dropped], under_way: int = 0, cursor: str | None = None) -> tuple[list[tuple[str, ...]], str]:
    """(what each tick asks for, the cursor after the last), fifteen seconds apart."""
    asked = []
    for number, files in enumerate(seen):
        intake = decide(cursor, files, under_way, 1e9 + 15 * number)
        cursor = intake.cursor
        asked.append(intake.files)
    return asked, str(cursor)


def test_a_file_is_landed_once_it_has_not_changed_for_a_tick() -> None:
    growing = Dropped("a.csv", 5, 1)
    assert ticks([growing], [A], [A], [])[0] == [(), (), ("a.csv",), ()]


def test_a_burst_is_one_run_oldest_first() -> None:
    assert ticks([A, B], [A, B])[0][-1] == ("a.csv", "b.csv")


def test_nothing_is_asked_for_while_a_run_lands_files_and_nothing_is_forgotten() -> None:
    _, cursor = ticks([A], [A, B])
    busy, cursor = ticks([A, B], [A, B], under_way=1, cursor=cursor)
    assert busy == [(), ()]
    assert ticks([B], cursor=cursor)[0] == [("b.csv",)]


def test_a_file_that_stayed_after_its_run_is_asked_for_again_later_and_later() -> None:
    asked = ticks(*[[A]] * 32)[0]
    times = [number * 15 for number, files in enumerate(asked) if files]
    assert [later - sooner for sooner, later in zip(times, times[1:], strict=False)] == [60, 120, 240]


def test_a_file_that_breaks_its_run_comes_after_the_others() -> None:
    asked = ticks(*[[A]] * 5, [A, B], [A, B])[0]
    assert asked[-1] == ("b.csv", "a.csv") or asked[-1] == ("b.csv",)


def test_the_same_file_dropped_again_later_gets_a_run_of_its_own() -> None:
    """The same name, size and time would give the same run key, which Dagster never runs twice."""
    first, cursor = decide(decide(None, [A], 0, 0).cursor, [A], 0, 15), None
    gone = decide(first.cursor, [], 0, 30)
    back = decide(decide(gone.cursor, [A], 0, 45).cursor, [A], 0, 60)
    assert cursor is None
    assert first.files == back.files == ("a.csv",)
    assert first.run_key != back.run_key


def test_a_tick_that_is_repeated_after_a_restart_asks_for_the_same_run() -> None:
    settled = decide(None, [A], 0, 0).cursor
    assert decide(settled, [A], 0, 15).run_key == decide(settled, [A], 0, 45).run_key


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
        told = land(*arguments)
        newer.rename(home.inbox / "day.parquet")
        return told

    monkeypatch.setattr("vps_assets.landing.inbox.land", and_another_comes)
    assert list(take_in(["day.parquet"], home, print).failed) == ["day.parquet"]
    monkeypatch.undo()
    assert list(take_in(["day.parquet"], home, print).landed) == ["day.parquet"]
    assert landed_rows(home, ["listing_id"])["listing_id"].sort().to_list() == ["L1", "L2"]
