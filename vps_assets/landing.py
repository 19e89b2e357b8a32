"""Landing: a file and its photos are checked and put, immutably, where `raw_listings` takes them in.

Never touches the warehouse, so that landing works while runs go on.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.landing_files import RefusedFile, TypedRows, read_typed
from vps_assets.landing_rules import EARLIEST_DAY, reasons_of_rows
from vps_ml.photos import open_photo
from vps_ml.store import identity, whole_file

Progress = Callable[[str], None]
PHOTOS_PER_REPORT = 500


@dataclass(frozen=True)
class Landing:
    """What became of one file."""

    source_file: str
    rows: int
    bad: int
    already_landed: bool
    unknown_columns: tuple[str, ...]


def land(files: Sequence[Path], images: Path | None, home: Home, progress: Progress) -> list[Landing]:
    """Land the files one after the other; what has landed already changes nothing.

    All files are read before the first one lands, so a refused file leaves nothing of its companions either.

    Raises:
        RefusedFile: a file cannot be read, lacks a required column, or brings a second currency.
    """
    typed = [read_typed(path) for path in files]
    one_currency(typed, home)
    return [land_one(rows, images or path.parent, home, progress) for path, rows in zip(files, typed, strict=True)]


def one_currency(typed: Sequence[TypedRows], home: Home) -> None:
    """Refuse a second currency."""
    known = set()
    landed = list(home.landing.glob("*.parquet"))
    if landed:
        known = set(pl.scan_parquet(landed).select("currency").unique().collect()["currency"].drop_nulls())
    for rows in typed:
        currencies = set(rows.frame["currency"].drop_nulls())
        if len(known | currencies) > 1:
            found = ", ".join(sorted(known | currencies))
            raise RefusedFile(f"{rows.source_file}: one currency per warehouse, and these are {found}; convert first")
        known |= currencies


def land_one(typed: TypedRows, images: Path, home: Home, progress: Progress) -> Landing:
    """Check a file's photos and rows, and write it into `landing/` under the hash of its content."""
    frame = typed.frame
    photos = check_photos(frame["image_path"].to_list(), images, home, progress)
    hashes = [photo.photo_hash for photo in photos]
    now = datetime.now(UTC)
    reasons = reasons_of_rows(typed, [photo.reason for photo in photos], now)
    landing_id = identity(*zip(frame["row"], hashes, reasons, strict=True))
    if (home.landing / f"{landing_id}.parquet").exists() and not in_force(frame, hashes, home):
        landing_id = identity(landing_id, now)  # other rows have replaced these since: landing them again counts
    target = home.landing / f"{landing_id}.parquet"
    already = target.exists()
    if not already:
        landed = frame.with_columns(
            listed_on=partition_day(now.date()),
            landed_at=pl.lit(now).dt.cast_time_unit("us"),
            source_file=pl.lit(typed.source_file),
            landing_id=pl.lit(landing_id),
            photo_hash=pl.Series(hashes, dtype=pl.String),
            landing_reasons=pl.Series(reasons, dtype=pl.List(pl.String)),
            line=pl.int_range(pl.len(), dtype=pl.Int64),
        )
        with whole_file(target) as temporary:
            landed.write_parquet(temporary)
    bad = sum(bool(row) for row in reasons)
    return Landing(typed.source_file, frame.height, bad, already, typed.unknown_columns)


def in_force(frame: pl.DataFrame, hashes: list[str | None], home: Home) -> bool:
    """Whether each listing's last row in a file is what its landings come to now."""
    mine = frame.select("listing_id", "row").with_columns(photo_hash=pl.Series(hashes, dtype=pl.String))
    last = mine.unique(pl.coalesce("listing_id", "row"), keep="last")
    now = landed_rows(home, ["listing_id", "row", "photo_hash"])
    return last.join(now, on=["row", "photo_hash"], how="anti", nulls_equal=True).is_empty()


def partition_day(today: date) -> pl.Expr:
    """The day of `listed_at`; the landing day where the row has none that can be a partition."""
    day = pl.col("listed_at").dt.date()
    return pl.when(day.is_between(EARLIEST_DAY, today)).then(day).otherwise(pl.lit(today))


@dataclass(frozen=True)
class CheckedPhoto:
    """A good photo's hash, or what is wrong with it."""

    photo_hash: str | None
    reason: str | None


def check_photos(paths: Sequence[str | None], images: Path, home: Home, progress: Progress) -> list[CheckedPhoto]:
    """Verify every photo by decoding it whole, and store the good ones by content hash."""
    folder = images.resolve()
    checked: list[CheckedPhoto] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda path: check_photo(path, folder, home), paths):
            checked.append(result)
            if len(checked) % PHOTOS_PER_REPORT == 0:
                progress(f"{len(checked):,} of {len(paths):,} photos verified")
    return checked


def check_photo(image_path: str | None, folder: Path, home: Home) -> CheckedPhoto:
    """Decode one photo and store it; or say why not."""
    if not image_path:
        return CheckedPhoto(None, "image_path is missing")
    try:
        path = (folder / image_path).resolve()
        if not path.is_relative_to(folder):
            return CheckedPhoto(None, "image_path leaves the image folder")
        if not path.is_file():
            return CheckedPhoto(None, "photo is missing")
        photo_hash = hashlib.sha256(path.read_bytes()).hexdigest()
        stored = home.photo(photo_hash)
        if not stored.exists():
            open_photo(path)
            with whole_file(stored) as temporary:
                shutil.copyfile(path, temporary)
    except (OSError, ValueError) as error:
        told = str(error).replace(str(folder), "").splitlines()[0][:120]
        return CheckedPhoto(None, f"photo cannot be decoded: {told}")
    return CheckedPhoto(photo_hash, None)


NEWEST_ROWS = """
with numbered as (
    select *, len(landing_reasons) = 0 as good,
        coalesce(listing_id, md5("row")) as listing_key, hash("row", photo_hash) as content,
        struct_pack(a := landed_at, b := line) as moment
    from read_parquet(?)
),
dated as (
    select *, max(moment) filter (good) over (partition by listing_key) as last_good from numbered
),
changed as (
    select * from dated
    qualify lag(content) over (partition by listing_key, good order by moment) is distinct from content
)
from changed
where good or last_good is null or moment > last_good
qualify row_number() over (partition by listing_key, good order by moment desc) = 1
"""
"""The landed rows in force: a listing's newest good row, and its newest bad one if it came later.

A bad row never replaces a good one, and a good one does away with the bad ones before it. A row that came again
unchanged stays with the landing that first brought it, so that landing an export again touches nothing.
"""


def landed_rows(
    home: Home, columns: Sequence[str], first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """The landed rows in force, listed from `first` to `last`; empty where nothing has landed."""
    import duckdb

    from vps_assets.schemas import RAW_LISTINGS, types

    files = sorted(str(path) for path in home.landing.glob("*.parquet"))
    if not files:
        wanted = types(RAW_LISTINGS)
        return pl.DataFrame(schema={name: wanted[name] for name in columns})
    names = ", ".join(f'"{name}"' for name in columns)
    query = f"select {names} from ({NEWEST_ROWS}) where listed_on between ? and ?"  # noqa: S608
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        window = [first or EARLIEST_DAY, last or date.today() + timedelta(days=1)]
        return pl.DataFrame(connection.execute(query, [files, *window]).to_arrow_table())
