"""Landing: a file and its photos are checked, and stored immutably for `raw_listings` to take in.

Never touches the warehouse, so that landing works while runs go on.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
from pyarrow.parquet import ParquetWriter

from vps_assets.errors import VpsError, one_line
from vps_assets.home import Home
from vps_assets.landing.cells import TypedRows
from vps_assets.landing.files import ListingFile, RefusedFile, listing_file
from vps_assets.landing.landed import rows_in_force
from vps_assets.landing.landings import landed_ids, reading, so_far
from vps_assets.landing.mirror import put
from vps_assets.landing.packs import compact
from vps_assets.landing.photos import NO_PHOTO, Progress, check_photos
from vps_assets.landing.rules import reasons_of_rows
from vps_assets.sweeping import sweep
from vps_assets.tables.listings import WORDS
from vps_assets.tables.partitions import EARLIEST_DAY
from vps_ml import durable
from vps_ml.atomic import temporary_name
from vps_ml.cards import ID_LENGTH, identity

NEXT = timedelta(microseconds=1)
"""Between two landings at least."""
MOST_REASONS = 5
"""Why rows are bad: so many are named."""


@dataclass(frozen=True)
class Landing:
    """The result of landing one file."""

    source_file: str
    rows: int
    bad: int
    why: Mapping[str, int]
    """Reason -> how many rows have it; a row may have several."""
    already_landed: bool
    unknown_columns: tuple[str, ...]
    no_photo: Path | None = None
    """Where the first photo that is missing was looked for."""
    repeated: int = 0
    """Rows of the file beyond the first of their `listing_id`."""

    @property
    def told(self) -> str:
        """How many rows there are, how many of them are bad, and most often why; and where one looks first."""
        often = sorted(self.why.items(), key=lambda one: (-one[1], one[0]))
        named = [f"{reason} {count:,}" for reason, count in often[:MOST_REASONS]]
        others = len(often) - MOST_REASONS
        named += [f"{others} other reason{'s' if others > 1 else ''}"] if others > 0 else []
        reasons = f": {', '.join(named)}" if named else ""
        bad = f"{self.bad:,} of them bad (to be quarantined{reasons})" if self.bad else "none of them bad"
        parts = [f"{self.rows:,} rows, {bad}"]
        if self.no_photo is not None:
            of_all = ": are they in another folder (--images)?" if self.why[NO_PHOTO] == self.rows else ""
            parts.append(f"no photo lies at {self.no_photo}, for one{of_all}")
        if self.repeated:
            parts.append(f"{self.repeated:,} repeat a listing_id, of which the last good row counts")
        return "; ".join(parts)


def land(files: Sequence[Path], images: Path | None, home: Home, progress: Progress) -> list[Landing]:
    """Land the files one after the other; a file that has landed already changes nothing.

    All files are checked and written aside before the first one lands, so that a refused file leaves nothing of its
    companions either. A file streams through, so that memory does not grow with it. What has landed when this returns
    survives a power failure: photos are on disk before the rows that name them.

    Photos are stored by their content: those of a file that turns out broken in its middle stay, and no row names them.

    Raises:
        RefusedFile: a file cannot be read, lacks a required column, or brings a second currency.
    """
    sweep(home)
    opened = [listing_file(path) for path in files]
    currencies, newest = reading(home, so_far)
    one_currency(opened, currencies)
    durable.make_folder(home.landing)
    staged: list[Staged] = []
    moments = landing_moments(newest)
    try:
        for file in opened:
            staged.append(stage(file, images or file.path.parent, home, next(moments), progress))
        durable.sync_everything([home.photos, home.landing])
        landings = [settle(one, home) for one in staged]
    finally:
        for one in staged:
            one.written.unlink(missing_ok=True)
        durable.sync(home.landing)
    try:
        compact(home)
    except (VpsError, OSError, duckdb.Error) as error:  # what has landed has landed
        progress(f"small landings were not packed: {one_line(error)}")
    return landings


def landing_moments(newest: datetime | None) -> Iterator[datetime]:
    """When each file lands: now, but after everything that has landed, also where the clock was set back."""
    while True:
        now = datetime.now(UTC)
        newest = now if newest is None else max(now, newest + NEXT)
        yield newest


def one_currency(files: Sequence[ListingFile], landed: set[str]) -> None:
    """Refuse a second currency."""
    currencies = set(landed)
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
    why: Mapping[str, int]
    no_photo: Path | None
    repeated: int


def stage(file: ListingFile, images: Path, home: Home, landed_at: datetime, progress: Progress) -> Staged:
    """Check a file's rows and photos, batch by batch, and write them under a hidden name."""
    written = home.landing / temporary_name(file.path.stem)
    now = datetime.now(UTC)
    digest, writer, rows, bad, why, no_photo = hashlib.sha256(), None, 0, 0, Counter[str](), None
    try:
        for typed in file.batches():
            checked = checked_rows(typed, file, images, home, now, rows, progress).with_columns(
                landed_at=pl.lit(landed_at).dt.cast_time_unit("us")
            )
            for content, reasons, photo in checked.select("content", "landing_reasons", "image_path").iter_rows():
                digest.update(f"{content} {reasons}\n".encode())
                bad += bool(reasons)
                why.update(reasons)
                if no_photo is None and NO_PHOTO in reasons:
                    no_photo = (images / photo).resolve()
            table = checked.to_arrow()
            writer = writer or ParquetWriter(written, table.schema, compression="zstd")
            writer.write_table(table)
            rows += checked.height
            progress(f"{file.path.name}: {rows:,} rows and their photos looked at, {bad:,} bad")
        if writer:
            writer.close()
        repeated = repeated_ids(written) if writer else 0
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    content_id = digest.hexdigest()[:ID_LENGTH]
    return Staged(file, written, content_id, landed_at, rows, bad, why, no_photo, repeated)


def repeated_ids(written: Path) -> int:
    """How many rows of a staged file are beyond the first of their `listing_id`; eight bytes of memory for each id."""
    listing_id = pl.col("listing_id").drop_nulls().hash()
    counted = pl.scan_parquet(written, glob=False).select(listing_id.len() - listing_id.n_unique())
    return counted.collect(engine="streaming").item()


def checked_rows(
    typed: TypedRows, file: ListingFile, images: Path, home: Home, now: datetime, before: int, progress: Progress
) -> pl.DataFrame:
    """A batch as it lands, but for `landed_at`; `before` rows of its file came before it."""
    frame = typed.frame
    photos = check_photos(frame["image_path"].to_list(), images, home, progress)
    hashes = [photo.photo_hash for photo in photos]
    reasons = reasons_of_rows(typed, [photo.reason for photo in photos], now)
    # A row that landed before there were these columns has no words: it is another one now, though it came the same.
    worded = frame.select(pl.any_horizontal(pl.col(name).is_not_null() for name in WORDS)).to_series()
    texts = zip(frame["row"], hashes, worded, strict=True)
    return frame.with_columns(
        listed_on=partition_day(now.date()),
        source_file=pl.lit(file.path.name),
        photo_hash=pl.Series(hashes, dtype=pl.String),
        landing_reasons=pl.Series(reasons, dtype=pl.List(pl.String)),
        line=pl.int_range(before, before + pl.len(), dtype=pl.Int64),
        content=pl.Series([content_of(*text) for text in texts], dtype=pl.String),
    ).with_columns(listing_key=pl.coalesce("listing_id", "content"))


def content_of(row: str, photo_hash: str | None, worded: bool) -> str:
    """Hash of a row as it came, its photo, and whether the seller's words were read from it."""
    return hashlib.sha256(f"{row} {photo_hash}{' with words' if worded else ''}".encode()).hexdigest()[:32]


def settle(staged: Staged, home: Home) -> Landing:
    """Give a staged file its name, the hash of its content; nothing if that has landed and is still in force."""
    landing_id, landed = staged.content_id, reading(home, landed_ids)
    if landing_id in landed and not reading(home, lambda files: in_force(staged.written, files)):
        # other rows have replaced these since: landing them again has an effect
        landing_id = identity(staged.content_id, staged.landed_at)
    already = landing_id in landed
    if not already and staged.rows:
        put(home, staged.written, f"{landing_id}.parquet")
    told = staged.rows, staged.bad, staged.why, already, staged.file.unknown_columns, staged.no_photo, staged.repeated
    return Landing(staged.file.path.name, *told)


def in_force(written: Path, landed: Sequence[str]) -> bool:
    """Whether a file that came again would change nothing if it landed as the newest."""
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
