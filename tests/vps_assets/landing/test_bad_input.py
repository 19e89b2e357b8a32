"""Whatever a file brings, it is landed, quarantined with the reason, or refused whole."""

import json
import math
import os
import struct
import zlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from conftest import vps
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenario import listing, listings_file, photo, quiet

from vps_assets.assets.listings import cleaned, fitted_bounds, quarantined
from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import Landing, land
from vps_assets.landing.landed import landed_rows
from vps_assets.landing.photos import MOST_PHOTO_BYTES, check_photos
from vps_assets.tables.listings import CLEAN_LISTINGS, QUARANTINED_LISTINGS, RAW_LISTINGS
from vps_assets.tables.schemas import conforming, faults

GOOD = {
    "listing_id": "L1",
    "listed_at": "2024-01-05T10:00:00Z",
    "category": "phone",
    "image_path": "good.png",
    "price": "12.5",
    "sold_at": "2024-01-06T10:00:00Z",
    "sold_price": "10",
    "currency": "EUR",
    "seller_id": "S1",
    "brand": "Acme",
    "group_id": "G1",
    "attributes": "white|cotton",
    "specifications": "XL",
}
FEWER = settings(max_examples=settings.default.max_examples // 2)
"""Of each: an example is a file that lands twice."""
TEXTS = [
    "", " ", "x", "-1", "0", "1e308", "1e999", "NaN", "inf", "-inf", "12,5", "1 000", "€5", "null", "true", "\u0000",
    "2024-01-05", "2024-01-05T10:00:00+02:00", "2024-01-05 10:00", "2024-13-45", "0001-01-01T00:00:00Z", "a" * 5000,
    "9999-12-31T23:59:59Z", "2999-01-01", "1704448800", "../../etc/passwd", "/etc/passwd", "missing.png", "page.jpg",
    "good.png\u0000", "x" * 300 + ".png", "a|b||c", "|", "🙂", '"', "'; drop table raw_listings; --", "\u202e", "USD",
]  # fmt: skip
TYPED = [
    None,
    True,
    0,
    -5,
    7,
    2**63,
    1.5,
    math.nan,
    math.inf,
    -math.inf,
    [],
    ["a"],
    [["a"], ["b"]],
    [1, None],
    {"a": 1},
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    photo(folder / "good.png")
    (folder / "page.jpg").write_text("<html><body>404</body></html>")
    return folder


def rows_of(value: st.SearchStrategy) -> st.SearchStrategy:
    """Up to six rows, good but for some cells; some columns are missing altogether."""
    cells = st.dictionaries(st.sampled_from(sorted(GOOD)), value, max_size=4)
    rows = st.lists(cells, max_size=6).map(lambda changed: [GOOD | cell for cell in changed])
    return st.tuples(rows, st.sets(st.sampled_from(sorted(set(GOOD) - {"listing_id"})), max_size=1))


def survives(write: object, images: Path, rows: int, suffix: str) -> None:
    """The file lands whole or is refused whole; what lands is clean or quarantined, and landing again adds nothing."""
    with TemporaryDirectory() as folder:
        home, file = Home(Path(folder) / "home"), Path(folder) / f"file{suffix}"
        write(file)  # type: ignore[operator]
        try:
            (landing,) = land([file], images, home, quiet)
        except RefusedFile as error:
            assert "file" in str(error)
            assert "\n" not in str(error)
            assert not list(home.landing.glob("*")) if home.landing.exists() else True
            return
        assert landing.rows == rows
        if rows:
            everything_is_kept(home, landing)
            (again,) = land([file], images, home, quiet)
            assert again.already_landed


def everything_is_kept(home: Home, landing: Landing) -> None:
    raw = conforming(landed_rows(home, list(RAW_LISTINGS.columns)), RAW_LISTINGS)
    bounds = fitted_bounds(raw, (0.025, 0.975), 0.6, 0.2)
    clean, out = cleaned(raw, bounds), conforming(quarantined(raw, bounds), QUARANTINED_LISTINGS)
    assert clean.height + out.height == raw.height >= 1
    assert faults(clean, CLEAN_LISTINGS) is None
    assert out["reasons"].list.len().min() is None or out["reasons"].list.len().min() > 0
    prices = [*clean["price"].drop_nulls(), *clean["sold_price"].drop_nulls()]
    assert all(math.isfinite(price) and price > 0 for price in prices)
    assert clean["listed_on"].is_between(date(1970, 1, 1), date.today()).all()
    assert all(isinstance(json.loads(row), dict) for row in out["row"])


@FEWER
@given(drawn=rows_of(st.sampled_from(TEXTS)), newline=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_any_csv_lands_or_is_refused(drawn: tuple, newline: str, bom: bool, images: Path) -> None:
    rows, missing = drawn
    columns = [name for name in GOOD if name not in missing]

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [",".join(columns), *(",".join(quoted(str(row[name])) for name in columns) for row in rows)]
    data = ("\ufeff" if bom else "") + newline.join(lines) + newline
    survives(lambda file: file.write_bytes(data.encode()), images, len(rows), ".csv")


@FEWER
@given(drawn=rows_of(st.sampled_from(TYPED + TEXTS)))
def test_any_json_lines_land_or_are_refused(drawn: tuple, images: Path) -> None:
    rows, missing = drawn
    lines = [json.dumps({name: value for name, value in row.items() if name not in missing}) for row in rows]
    survives(lambda file: file.write_text("\n".join(lines)), images, len(rows), ".jsonl")


DTYPES = [
    pl.Int8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date, pl.Datetime("ns"), pl.Time,
    pl.Datetime("us", "Asia/Tokyo"), pl.Datetime("ms", "UTC"), pl.Duration("us"), pl.Binary, pl.Null, pl.Categorical,
    pl.Decimal(18, 2), pl.List(pl.Int64), pl.List(pl.List(pl.String)), pl.Struct({"a": pl.Int64}),
    pl.Array(pl.Float32, 2),
]  # fmt: skip


def typed(name: str, dtype: pl.DataType, number: int) -> pl.Series:
    """A column of this type, with a null, a small and a large value, whatever it is for."""
    kind = pl.Series([None], dtype=pl.Null).cast(dtype).dtype
    values: dict = {
        pl.Date: date(2024, 1, 5), pl.Time: datetime(2024, 1, 5, 3).time(), pl.Binary: b"\xff\x00", pl.Boolean: True,
        pl.String: "7", pl.Categorical: "7", pl.Duration: timedelta(days=1), pl.Null: None, pl.Struct: {"a": 1},
    }  # fmt: skip
    base = kind.base_type()
    value = values.get(base, 7)
    if base == pl.Datetime:
        value = datetime(2024, 1, 5, 3, tzinfo=UTC) if kind.time_zone else datetime(2024, 1, 5, 3)
    elif base == pl.List:
        value = [["a"]] if kind.inner.base_type() == pl.List else [1, 2]
    elif base == pl.Array:
        value = [1.0, math.nan]
    elif base in (pl.Float32, pl.Float64):
        value = [math.nan, math.inf, 7.0][number % 3]
    return pl.Series(name, [value, None, value], dtype=kind)


@FEWER
@given(
    dtypes=st.dictionaries(st.sampled_from(sorted(GOOD)), st.sampled_from(DTYPES), max_size=4), number=st.integers(0, 2)
)
def test_any_parquet_lands_or_is_refused(dtypes: dict, number: int, images: Path) -> None:
    good = pl.DataFrame([GOOD] * 3).with_columns(pl.Series("listing_id", ["L1", "L2", "L2"]))
    frame = good.with_columns(typed(name, dtype, number) for name, dtype in dtypes.items())
    survives(frame.write_parquet, images, 3, ".parquet")


@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".parquet", ".jsonl"]))
def test_any_bytes_land_or_are_refused(data: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"file{suffix}"
        file.write_bytes(data)
        try:
            land([file], None, Home(Path(folder) / "home"), quiet)
        except RefusedFile as error:
            assert "\n" not in str(error)


def reason(folder: Path, name: str, home: Home) -> str | None:
    return check_photos([name], folder, home, quiet)[0].reason


def test_a_file_that_is_no_photo_gets_its_reason(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    photo(folder / "whole.png", size=(400, 300))
    whole = (folder / "whole.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<!doctype html>")
    Image.new("P", (4, 4)).save(folder / "drawing.gif")
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 0, 0, 0, 0))
    (folder / "bomb.png").write_bytes(header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b""))
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(MOST_PHOTO_BYTES + 1)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "outside.png").symlink_to(photo(tmp_path / "secret.png"))
    (folder / "inside.png").symlink_to(folder / "whole.png")
    expected = {
        "cut.png": "cannot be decoded",
        "empty.jpg": "cannot be decoded",
        "page.jpg": "cannot be decoded",
        "drawing.gif": "not a JPEG, PNG or WebP",
        "bomb.png": "more than 100,000,000",
        "huge.jpg": "larger than 64 MiB",
        "pipe.jpg": "missing",
        "outside.png": "leaves the image folder",
        "../secret.png": "leaves the image folder",
        str(tmp_path / "secret.png"): "leaves the image folder",
        "nul\0.png": "cannot be decoded",
        "x" * 5000: "cannot be read",
    }
    found = {name: reason(folder, name, home) for name in expected}
    assert [name for name, words in expected.items() if words not in str(found[name])] == [], found
    assert not any(str(tmp_path) in str(words) for words in found.values())
    assert reason(folder, "inside.png", home) is None
    assert reason(folder, "whole.png", home) is None


@pytest.mark.parametrize(
    ("size", "words"), [((1, 1), "each side must have 32"), ((650, 64), "over 10 times the other")]
)
def test_a_picture_that_no_camera_takes_is_no_photo(
    home: Home, tmp_path: Path, size: tuple[int, int], words: str
) -> None:
    photo(tmp_path / "odd.png", size=(40, 400))
    assert reason(tmp_path, "odd.png", home) is None
    Image.new("RGB", size).save(tmp_path / "odd.png")
    assert words in str(reason(tmp_path, "odd.png", home))


def test_a_stored_photo_that_is_not_what_was_stored_is_stored_again(home: Home, tmp_path: Path) -> None:
    file = listings_file(tmp_path, [listing(2)])
    land([file], None, home, quiet)
    (stored,) = [path for path in home.photos.rglob("*") if path.is_file()]
    whole = stored.read_bytes()
    for damaged in (b"", whole[:-1], whole[:50] + bytes(len(whole) - 50)):
        stored.write_bytes(damaged)
        (again,) = land([file], None, home, quiet)
        assert again.already_landed
        assert stored.read_bytes() == whole


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_landed_photo_does_not_show_where_it_was_taken(home: Home, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.new("RGB", (80, 40), "red").save(tmp_path / "in" / "1.jpg", exif=exif)
    land([listings_file(tmp_path / "in", [listing(2), listing(3)])], None, home, print)
    (checked,) = check_photos(["1.jpg"], tmp_path / "in", home, quiet)
    assert checked.photo_hash is not None
    with Image.open(home.artefacts.photo(checked.photo_hash)) as stored:
        assert dict(stored.getexif()) == {0x0112: 6}
        assert not stored.getexif().get_ifd(0x8825)


def test_from_the_command_line_a_bad_file_is_one_line_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "noise.parquet").write_bytes(os.urandom(2000))
    ran = vps("land", str(tmp_path / "noise.parquet"), home=tmp_path / "home")
    assert ran.returncode == 2
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "noise.parquet" in ran.stderr
