"""Small landings packed into one file: nothing that is read of them changes, at whatever step it is broken off."""

from pathlib import Path

import duckdb
import polars as pl
import pytest
from scenario import ALL, listing, listings_file, photo, quiet

from vps_assets.home import Home
from vps_assets.landing import packs
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_index, landed_rows, rows_in_force
from vps_assets.landing.landings import ForeignFile, landed_files
from vps_assets.landing.packs import TOGETHER, compact, delete_packed, pack, rewriting
from vps_assets.landing.photos import check_photos


def dropped_one_by_one(home: Home, folder: Path, count: int) -> None:
    """Files of one row each; the second half replaces the first, and one row is bad."""
    photo(folder / "1.png")
    for number in range(count):
        row = listing(number % (count // 2), image_path="1.png", price=-1.0 if number == 3 else 5.0 + number)
        land([listings_file(folder, [row], f"{number}.parquet")], None, home, quiet)


@pytest.fixture
def unpacked(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    with monkeypatch.context() as patched:
        patched.setattr("vps_assets.landing.land.compact", lambda home: None)
        dropped_one_by_one(home, tmp_path, TOGETHER + 2)
    return home


def test_packing_changes_nothing_that_is_read(unpacked: Home) -> None:
    before, index = landed_rows(unpacked, ALL).sort(pl.all()), landed_index(unpacked)
    compact(unpacked)
    assert len(list(unpacked.landing.glob("*"))) < TOGETHER
    assert landed_rows(unpacked, ALL).sort(pl.all()).equals(before)
    assert landed_index(unpacked) == index  # so that no date is out of date


def test_a_kill_between_the_pack_and_the_deletion_changes_nothing(
    unpacked: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = landed_rows(unpacked, ALL).sort(pl.all())
    files = landed_files(unpacked)
    pack(unpacked, files[:9])
    assert landed_rows(unpacked, ALL).sort(pl.all()).equals(before)
    pack(unpacked, landed_files(unpacked))  # a pack of a pack, whose parts are all still there
    assert len(landed_files(unpacked)) == 1
    assert landed_rows(unpacked, ALL).sort(pl.all()).equals(before)
    Path(files[0]).unlink()  # the deletion was broken off
    delete_packed(unpacked)
    assert len(list(unpacked.landing.glob("*"))) == 1
    assert landed_rows(unpacked, ALL).sort(pl.all()).equals(before)


def test_what_is_packed_has_landed_when_it_comes_again(home: Home, tmp_path: Path) -> None:
    dropped_one_by_one(home, tmp_path, TOGETHER)
    assert len(list(home.landing.glob("*.parquet"))) < TOGETHER
    (again,) = land([tmp_path / f"{TOGETHER - 1}.parquet"], None, home, quiet)
    assert again.already_landed
    before = landed_rows(home, ALL).height
    (replaced,) = land([tmp_path / "0.parquet"], None, home, quiet)  # replaced since: it has an effect
    assert not replaced.already_landed
    assert landed_rows(home, ALL).height == before


def test_the_number_of_files_stays_small_however_many_land(home: Home, tmp_path: Path) -> None:
    dropped_one_by_one(home, tmp_path, 4 * TOGETHER)
    assert len(list(home.landing.glob("*"))) < 2 * TOGETHER
    assert landed_rows(home, ["listing_id"]).height == 2 * TOGETHER  # the bad one was replaced


def test_one_process_packs_at_a_time_and_the_others_do_not_wait(unpacked: Home) -> None:
    with rewriting(unpacked):
        compact(unpacked)
        assert len(list(unpacked.landing.glob("*"))) == TOGETHER + 2
    compact(unpacked)
    assert len(list(unpacked.landing.glob("*"))) < TOGETHER


def test_a_reader_whose_files_are_packed_meanwhile_reads_again(unpacked: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = landed_rows(unpacked, ALL).sort(pl.all())
    calls = []

    def packed_meanwhile(files: list[str], *arguments: object) -> pl.DataFrame:
        calls.append(files)
        if len(calls) == 1:
            compact(unpacked)
        return rows_in_force(files, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("vps_assets.landing.landed.rows_in_force", packed_meanwhile)
    assert landed_rows(unpacked, ALL).sort(pl.all()).equals(before)
    assert len(calls) == 2


def test_large_landings_are_left_alone(unpacked: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "LARGE_BYTES", 1)
    files = sorted(unpacked.landing.iterdir())
    compact(unpacked)
    assert sorted(unpacked.landing.iterdir()) == files
    assert check_photos([], unpacked.landing, unpacked, quiet) == []


@pytest.mark.parametrize(
    "fault", [duckdb.IOException("no"), OSError(28, "No space left on device"), ForeignFile("damaged")]
)
def test_a_landing_has_landed_whatever_goes_wrong_with_the_packing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fails(home: Home) -> None:
        raise fault

    monkeypatch.setattr("vps_assets.landing.land.compact", fails)
    said: list[str] = []
    (landing,) = land([listings_file(tmp_path, [listing(1)])], None, home, said.append)
    assert landing.rows == landed_rows(home, ["listing_id"]).height == 1
    assert "were not packed" in said[-1]


def test_a_reader_whose_files_vanish_while_they_are_listed_lists_them_again(
    unpacked: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def vanishes_once(home: Home) -> list[str]:
        calls.append(home)
        if len(calls) == 1:
            raise FileNotFoundError("a pack that was packed")
        return landed_files(home)

    monkeypatch.setattr("vps_assets.landing.landings.landed_files", vanishes_once)
    assert landed_rows(unpacked, ["listing_id"]).height > 0
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["a.parquet", "pack-a.parquet"])
def test_a_link_that_leads_nowhere_ends_a_reading_instead_of_repeating_it_for_ever(unpacked: Home, name: str) -> None:
    (unpacked.landing / name).symlink_to("/nowhere")
    with pytest.raises((ForeignFile, FileNotFoundError), match=name):
        landed_rows(unpacked, ["listing_id"])
