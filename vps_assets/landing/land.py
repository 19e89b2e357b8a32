"""Landing: a file and its photos are checked, and stored immutably for `raw_listings` to take in.

Never touches the warehouse, so that landing works while runs go on.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from pyarrow.parquet import ParquetWriter

from vps_assets.home import Home
from vps_assets.landing.files import ListingFile, RefusedFile, TypedRows, listing_file
from vps_assets.landing.landed import all_landed, landed_files, rows_in_force
from vps_assets.landing.rules import reasons_of_rows
from vps_assets.sweeping import sweep
from vps_assets.tables.partitions import EARLIEST_DAY
from vps_ml.artefacts import ID_LENGTH, identity
from vps_ml.atomic import temporary_name, whole_file
from vps_ml.photos.metadata import without_metadata

Progress = Callable[[str], None]
PHOTOS_PER_REPORT = 500
MOST_PHOTO_BYTES = 64 << 20
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class Landing:
    """The result of landing one file."""

    source_file: str
    rows: int
    bad: int
    already_landed: bool
    unknown_columns: tuple[str, ...]


def land(files: Sequence[Path], images: Path | None, home: Home, progress: Progress) -> list[Landing]:
    """Land the files one after the other; a file that has landed already changes nothing.

    All files are checked and written aside before the first one lands, so that a refused file leaves nothing of its
    companions either. A file streams through, so that memory does not grow with it.

    Photos are stored by their content: those of a file that turns out broken in its middle stay, and no row names them.

    Raises:
        RefusedFile: a file cannot be read, lacks a required column, or brings a second currency.
    """
    sweep(home)
    opened = [listing_file(path) for path in files]
    one_currency(opened, home)
    staged: list[Staged] = []
    try:
        for file in opened:
            staged.append(stage(file, images or file.path.parent, home, progress))
        return [settle(one, home) for one in staged]
    finally:
        for one in staged:
            one.written.unlink(missing_ok=True)


def one_currency(files: Sequence[ListingFile], home: Home) -> None:
    """Refuse a second currency."""
    currencies = set(all_landed(home, ["currency"])["currency"].drop_nulls())
    for file in files:
        currencies |= file.currencies()
        if len(currencies) > 1:
            found = ", ".join(sorted(currencies))
            raise RefusedFile(f"{file.path.name}: one currency per warehouse, and these are {found}; convert first")


@dataclass(frozen=True)
class Staged:
    """A file that has been checked and written under a hidden name in `landing/`."""

    file: ListingFile
    written: Path
    content_id: str
    """Hash of the rows, their photos and what is wrong with them."""
    landed_at: datetime
    rows: int
    bad: int


def stage(file: ListingFile, images: Path, home: Home, progress: Progress) -> Staged:
    """Check a file's rows and photos, batch by batch, and write them under a hidden name."""
    home.landing.mkdir(parents=True, exist_ok=True)
    written = home.landing / temporary_name(file.path.stem)
    now = datetime.now(UTC)
    digest, writer, rows, bad = hashlib.sha256(), None, 0, 0
    try:
        for typed in file.batches():
            checked = checked_rows(typed, file, images, home, now, rows, progress)
            for content, reasons in checked.select("content", "landing_reasons").iter_rows():
                digest.update(f"{content} {reasons}\n".encode())
                bad += bool(reasons)
            table = checked.to_arrow()
            writer = writer or ParquetWriter(written, table.schema, compression="zstd")
            writer.write_table(table)
            rows += checked.height
            progress(f"{file.path.name}: {rows:,} rows and their photos verified")
        if writer:
            writer.close()
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    return Staged(file, written, digest.hexdigest()[:ID_LENGTH], now, rows, bad)


def checked_rows(
    typed: TypedRows, file: ListingFile, images: Path, home: Home, now: datetime, before: int, progress: Progress
) -> pl.DataFrame:
    """A batch as it lands; `before` rows of its file came before it."""
    frame = typed.frame
    photos = check_photos(frame["image_path"].to_list(), images, home, progress)
    hashes = [photo.photo_hash for photo in photos]
    reasons = reasons_of_rows(typed, [photo.reason for photo in photos], now)
    texts = zip(frame["row"], hashes, strict=True)
    return frame.with_columns(
        listed_on=partition_day(now.date()),
        landed_at=pl.lit(now).dt.cast_time_unit("us"),
        source_file=pl.lit(file.path.name),
        photo_hash=pl.Series(hashes, dtype=pl.String),
        landing_reasons=pl.Series(reasons, dtype=pl.List(pl.String)),
        line=pl.int_range(before, before + pl.len(), dtype=pl.Int64),
        content=pl.Series([hashlib.sha256(f"{row} {photo}".encode()).hexdigest()[:32] for row, photo in texts]),
    ).with_columns(listing_key=pl.coalesce("listing_id", "content"))


def settle(staged: Staged, home: Home) -> Landing:
    """Give a staged file its name, the hash of its content; nothing if that has landed and is still in force."""
    target = home.landing / f"{staged.content_id}.parquet"
    if target.exists() and not in_force(staged.written, home):
        again = identity(
            staged.content_id, staged.landed_at
        )  # other rows have replaced these since: landing them again has an effect
        target = home.landing / f"{again}.parquet"
    already = target.exists()
    if not already and staged.rows:
        staged.written.replace(target)
    return Landing(staged.file.path.name, staged.rows, staged.bad, already, staged.file.unknown_columns)


def in_force(written: Path, home: Home) -> bool:
    """Whether a file that came again would change nothing if it landed as the newest."""
    landed = landed_files(home)
    now, then = (
        rows_in_force(files, ["listing_key", "content", "landing_reasons"])
        .with_columns(pl.col("landing_reasons").list.join("; "))
        .sort(pl.all())
        for files in (landed, [*landed, str(written)])
    )
    return now.equals(then)


def partition_day(today: date) -> pl.Expr:
    """The day of `listed_at`; the landing day if the row has none that can be a partition."""
    day = pl.col("listed_at").dt.date()
    return pl.when(day.is_between(EARLIEST_DAY, today)).then(day).otherwise(pl.lit(today))


@dataclass(frozen=True)
class CheckedPhoto:
    """A good photo's hash, or the reason why it is not good."""

    photo_hash: str | None
    reason: str | None


def check_photos(paths: Sequence[str | None], images: Path, home: Home, progress: Progress) -> list[CheckedPhoto]:
    """Decode every photo whole, once however many rows name it; store the good ones by content hash."""
    folder = images.resolve()
    once = list(dict.fromkeys(paths))
    checked: dict[str | None, CheckedPhoto] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, photo in zip(once, pool.map(lambda path: check_photo(path, folder, home), once), strict=True):
            checked[path] = photo
            if len(checked) % PHOTOS_PER_REPORT == 0:
                progress(f"{len(checked):,} of the next {len(once):,} photos verified")
    return [checked[path] for path in paths]


def check_photo(image_path: str | None, folder: Path, home: Home) -> CheckedPhoto:
    """Decode one photo and store it, without its metadata, under the hash of its bytes; or give the reason why not.

    Raises:
        OSError: the data directory cannot be written, which is no fault of the row.
    """
    if not image_path:
        return CheckedPhoto(None, "image_path is missing")
    try:
        path = (folder / image_path).resolve()
        if not path.is_relative_to(folder):
            return CheckedPhoto(None, "image_path leaves the image folder")
        if not path.is_file():
            return CheckedPhoto(None, "photo is missing")
        if path.stat().st_size > MOST_PHOTO_BYTES:
            return CheckedPhoto(None, f"photo is larger than {MOST_PHOTO_BYTES >> 20} MiB")
        data = path.read_bytes()
        photo_hash = hashlib.sha256(data).hexdigest()
        stored = home.artefacts.photo(photo_hash)
        if not stored.exists():
            kept = without_metadata(data)
            home.photos.mkdir(parents=True, exist_ok=True)
            with whole_file(stored, within=home.photos) as temporary:
                temporary.write_bytes(kept)
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        return CheckedPhoto(None, f"photo cannot be read: {error.strerror or error}")
    except RuntimeError as error:  # links in a circle
        return CheckedPhoto(None, f"photo cannot be read: {str(error).splitlines()[0].replace(str(folder), '')[:120]}")
    except ValueError as error:
        reason = str(error).replace(str(folder), "").splitlines()[0][:120]
        return CheckedPhoto(None, f"photo cannot be decoded: {reason}")
    return CheckedPhoto(photo_hash, None)
