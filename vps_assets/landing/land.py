"""Landing: a file and its photos are checked and put, immutably, where `raw_listings` takes them in.

Never touches the warehouse, so that landing works while runs go on.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
from pyarrow.parquet import ParquetWriter

from vps_assets.home import Home
from vps_assets.landing.files import ListingFile, RefusedFile, TypedRows, listing_file
from vps_assets.landing.rules import EARLIEST_DAY, reasons_of_rows
from vps_assets.sweeping import sweep
from vps_ml.artefacts import ID_LENGTH, identity, temporary_name, whole_file
from vps_ml.photos.metadata import without_metadata

Progress = Callable[[str], None]
PHOTOS_PER_REPORT = 500
MOST_PHOTO_BYTES = 64 << 20
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


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

    All files are checked and written aside before the first one lands, so that a refused file leaves nothing of its
    companions either. A file streams through, so that memory does not grow with it.

    Photos are kept by their content: those of a file that turns out broken in its middle stay, and no row names them.

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
    known = set()
    landed = list(home.landing.glob("*.parquet"))
    if landed:
        known = set(pl.scan_parquet(landed).select("currency").unique().collect()["currency"].drop_nulls())
    for file in files:
        known |= file.currencies()
        if len(known) > 1:
            found = ", ".join(sorted(known))
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
    """Check a file's rows and photos, batch by batch, and write them aside."""
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
    """A batch as it lands, `before` rows of its file before it."""
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
    """Give a staged file its name, which is its content's; nothing where that has landed and is still in force."""
    target = home.landing / f"{staged.content_id}.parquet"
    if target.exists() and not in_force(staged.written, home):
        again = identity(staged.content_id, staged.landed_at)  # others have replaced these: landing them again counts
        target = home.landing / f"{again}.parquet"
    already = target.exists()
    if not already and staged.rows:
        staged.written.replace(target)
    return Landing(staged.file.path.name, staged.rows, staged.bad, already, staged.file.unknown_columns)


def in_force(written: Path, home: Home) -> bool:
    """Whether a file that came again would change nothing, were it to land as the newest."""
    landed = landed_files(home)
    now, then = (
        rows_in_force(files, ["listing_key", "content", "landing_reasons"])
        .with_columns(pl.col("landing_reasons").list.join("; "))
        .sort(pl.all())
        for files in (landed, [*landed, str(written)])
    )
    return now.equals(then)


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
    """Verify every photo by decoding it whole, once however many rows name it; store the good ones by content hash."""
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
    """Decode one photo and store it, without its metadata, under the hash of its bytes; or say why not.

    Raises:
        OSError: the data directory cannot be written: that is no fault of the row.
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
        stored = home.photo(photo_hash)
        if not stored.exists():
            kept = without_metadata(data)
            home.photos.mkdir(parents=True, exist_ok=True)
            with whole_file(stored, within=home.photos) as temporary:
                temporary.write_bytes(kept)
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        return CheckedPhoto(None, f"photo cannot be read: {error.strerror or error}")
    except RuntimeError as error:  # links that lead round in a circle
        return CheckedPhoto(None, f"photo cannot be read: {str(error).splitlines()[0].replace(str(folder), '')[:120]}")
    except ValueError as error:
        told = str(error).replace(str(folder), "").splitlines()[0][:120]
        return CheckedPhoto(None, f"photo cannot be decoded: {told}")
    return CheckedPhoto(photo_hash, None)


IN_FORCE = """
create temp table in_force as
with numbered as (
    select listing_key, content, landing_reasons, listed_on, filename, line, len(landing_reasons) = 0 as good,
        struct_pack(a := landed_at, b := line) as moment
    from read_parquet(?, filename = true)
),
asked as (select listing_key from numbered where listed_on between ? and ?),
dated as (
    select *, max(moment) filter (good) over (partition by listing_key) as last_good
    from numbered semi join asked using (listing_key)
),
changed as (
    select * from dated
    where good or last_good is null or moment > last_good
    qualify lag((content, landing_reasons)) over (partition by listing_key, good order by moment)
        is distinct from (content, landing_reasons)
)
select filename, line from changed
qualify row_number() over (partition by listing_key, good order by moment desc) = 1
"""
"""The landed rows in force: a listing's newest good row, and its newest bad one if it came later.

A bad row never replaces a good one, and a good one does away with the bad ones before it. A row that came again
unchanged, and with nothing else wrong with it, stays with the landing that first brought it, so that landing an export
again touches nothing. Only narrow columns are read for this, and the rows themselves only of the days that are asked
for.
"""


def landed_rows(
    home: Home, columns: Sequence[str], first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """The landed rows in force, listed from `first` to `last`; empty where nothing has landed."""
    from vps_assets.tables.schemas import RAW_LISTINGS, types

    files = landed_files(home)
    if files:
        return rows_in_force(files, columns, first, last)
    wanted = types(RAW_LISTINGS)
    return pl.DataFrame(schema={name: wanted[name] for name in columns})


def landed_files(home: Home) -> list[str]:
    """Paths of what has landed, by name."""
    return sorted(str(path) for path in home.landing.glob("*.parquet"))


def rows_in_force(
    files: Sequence[str], columns: Sequence[str], first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """What these files, at least one, come to together.

    Raises:
        OSError: an older version landed one of them.
    """
    window = [first or EARLIEST_DAY, last or date.today() + timedelta(days=1)]
    named = (
        "parse_filename(filename, true) as landing_id" if name == "landing_id" else f'"{name}"' for name in columns
    )
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        try:
            connection.execute(IN_FORCE, [files, *window])
        except duckdb.BinderException as error:
            older = Path(files[0]).parent
            raise OSError(f"{older} has files of an older version: move them away and land them again") from error
        needed = [name for (name,) in connection.execute("select distinct filename from in_force").fetchall()]
        query = f"""
            select {", ".join(named)} from read_parquet(?, filename = true) semi join in_force using (filename, line)
            where listed_on between ? and ? order by filename, line
        """  # noqa: S608
        return pl.DataFrame(connection.execute(query, [needed or files, *window]).to_arrow_table())
