"""Landing: a file's rows and photos, checked and stored."""

from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from scenario import ALL, listing, listings_file, quiet, rows_landed

from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import Landing, land
from vps_assets.landing.landed import landed_rows
from vps_assets.landing.landings import ForeignFile


def test_a_good_photo_is_stored_by_its_hash_once(home: Home, tmp_path: Path) -> None:
    rows = rows_landed(home, [listing(1), listing(2, image_path="1.png")], tmp_path)
    assert rows["photo_hash"].n_unique() == 1
    assert home.artefacts.photo(rows["photo_hash"][0]).read_bytes() == (tmp_path / "1.png").read_bytes()


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
    assert list(home.landing.glob("*")) == []


def test_landing_twice_is_landing_once(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1), listing(2)])
    first, second = (land([path], None, home, quiet)[0] for _ in range(2))
    assert (first.already_landed, second.already_landed) == (False, True)
    assert len(list(home.landing.glob("*.parquet"))) == 1


def test_a_photo_that_is_no_photo_is_a_reason(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").write_bytes(b"<html>")
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [
        ["photo cannot be decoded: it is not a JPEG, PNG or WebP image"]
    ]


def test_how_many_rows_are_bad_is_told_with_the_commonest_reasons() -> None:
    why = {"price is not positive": 2, "photo is missing": 7, **{f"reason {n}": 1 for n in range(1, 6)}}
    landing = Landing("a.csv", 1000, 12, why, False, ())
    assert landing.told == (
        "1,000 rows, 12 of them bad (to be quarantined: photo is missing 7, price is not positive 2, reason 1 1, "
        "reason 2 1, reason 3 1, 2 other reasons)"
    )
    assert Landing("a.csv", 9, 9, {str(n): 1 for n in range(6)}, False, ()).told.endswith("4 1, 1 other reason)")
    assert Landing("a.csv", 3, 0, {}, False, ()).told == "3 rows, none of them bad"


def test_where_a_missing_photo_was_looked_for_and_how_many_rows_share_an_id_is_told(home: Home, tmp_path: Path) -> None:
    """A folder too deep or too high would else be found by reading the manual; the second of two rows counts."""
    nobody = [listing(number, listing_id=None) for number in (4, 5)]
    rows = [listing(1, price=5.0), listing(2), listing(1, price=6.0), listing(3), *nobody]
    path = listings_file(tmp_path, rows)
    for name in ("2.png", "3.png"):
        (tmp_path / name).unlink()
    (landed,) = land([path], None, home, quiet)
    assert landed.told.endswith(
        f"; no photo lies at {tmp_path / '2.png'}, for one; 1 repeat a listing_id, of which the last good row counts"
    )
    kept = landed_rows(home, ["listing_id", "price", "landing_reasons"]).rows()
    assert [row for row in kept if not row[2]] == [("L1", 6.0, [])]


def test_reasons_are_counted_over_all_rows_of_a_file(home: Home, tmp_path: Path) -> None:
    rows = [listing(n, category=None, price=-1.0 if n < 3 else 5.0) for n in range(1, 5)]
    (landed,) = land([listings_file(tmp_path, rows)], None, home, quiet)
    assert landed.bad == 4
    assert sorted(landed.why.values()) == [2, 4]


def test_a_missing_photo_is_a_reason(home: Home, tmp_path: Path) -> None:
    path = listings_file(tmp_path, [listing(1)])
    (tmp_path / "1.png").unlink()
    land([path], None, home, quiet)
    assert landed_rows(home, ALL)["landing_reasons"].to_list() == [["photo is missing"]]


def test_a_row_without_a_date_lies_in_the_partition_of_its_landing_day(home: Home, tmp_path: Path) -> None:
    row = rows_landed(home, [listing(1, listed_at=None)], tmp_path).row(0, named=True)
    assert row["listed_on"] == row["landed_at"].date()


def test_a_refused_file_keeps_its_companions_out_too(home: Home, tmp_path: Path) -> None:
    good = listings_file(tmp_path, [listing(1)])
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(RefusedFile, match=r"bad\.parquet: cannot be read"):
        land([good, tmp_path / "bad.parquet"], None, home, quiet)
    assert not home.landing.exists()


def test_a_second_currency_is_refused(home: Home, tmp_path: Path) -> None:
    rows_landed(home, [listing(1)], tmp_path / "a")
    with pytest.raises(RefusedFile, match="EUR, GBP"):
        rows_landed(home, [listing(2, currency="GBP")], tmp_path / "b")


def test_a_file_that_was_overtaken_counts_again_when_it_lands_again(home: Home, tmp_path: Path) -> None:
    open_again = [listing(1, sold_at=None, sold_price=None)]
    rows_landed(home, open_again, tmp_path / "a")
    rows_landed(home, [listing(1)], tmp_path / "b")
    assert rows_landed(home, open_again, tmp_path / "a")["sold_price"].to_list() == [None]


def test_what_lands_after_the_clock_was_set_back_is_newer_all_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_listing = listing(1, sold_at=None, sold_price=None)
    rows_landed(home, [open_listing], tmp_path, "a.parquet")

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(days=3)

    monkeypatch.setattr("vps_assets.landing.land.datetime", Earlier)
    rows = rows_landed(home, [listing(1)], tmp_path, "b.parquet")
    assert rows["sold_price"].to_list() == [listing(1)["sold_price"]]
    rows = rows_landed(home, [listing(1, sold_price=99.0)], tmp_path, "c.parquet")
    assert rows["sold_price"].to_list() == [99.0]


def test_a_landing_that_a_disk_has_damaged_is_named_with_what_to_do(home: Home, tmp_path: Path) -> None:
    file = listings_file(tmp_path, [listing(1)])
    land([file], None, home, quiet)
    (landing,) = home.landing.glob("*.parquet")
    whole = landing.read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2] + whole[-8:]):
        landing.write_bytes(damaged)
        with pytest.raises(ForeignFile, match=f"{landing.name} is damaged: restore it"):
            landed_rows(home, ALL)
        with pytest.raises(ForeignFile):
            land([file], None, home, quiet)
    landing.unlink()  # as the message says
    land([file], None, home, quiet)
    assert landing.read_bytes() == whole or landed_rows(home, ALL).height == 1
