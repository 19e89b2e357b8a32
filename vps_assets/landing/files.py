"""Listing files as they come: Parquet, CSV or JSON Lines, opened, and read in batches."""

import codecs
import errno
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vps_assets.errors import UserError, one_line
from vps_assets.landing.cells import COLUMN_TYPES, TypedRows, typed_rows
from vps_assets.tables.listings import REQUIRED


class RefusedFile(UserError):
    """A file is refused whole; the message names it, and has the reason and what to do."""


BATCH_ROWS = 20_000
"""Rows in memory at a time, and in a row group of what lands."""
MOST_CELL_BYTES = 1_000_000
"""No listing needs a longer cell, and a row is held several times while it lands."""
DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO}
"""What is wrong with the machine, not with a file."""
PANIC = re.compile(r'ErrString\("(?P<what>.*?)"\)')
"""A Polars reader's panic, which has an error's text in it."""
FIRST_BYTES = 1 << 16
"""Of a text file, by which its encoding and line ends are judged."""


@dataclass(frozen=True)
class ListingFile:
    """A file that can be opened and has the required columns."""

    path: Path
    rows: pl.LazyFrame
    columns: tuple[str, ...]

    @property
    def unknown_columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in COLUMN_TYPES)

    def currencies(self) -> set[str]:
        """The currencies that the file uses.

        Raises:
            RefusedFile: it cannot be read.
        """
        if "currency" not in self.columns:
            return set()
        with refusing(self.path):
            found = self.rows.select(pl.col("currency").cast(pl.String).str.strip_chars().unique())
            return set(found.collect(engine="streaming")["currency"].drop_nulls()) - {""}

    def batches(self) -> Iterator[TypedRows]:
        """The rows, `BATCH_ROWS` at a time.

        Raises:
            RefusedFile: the rest of the file cannot be read, or a cell is too long.
        """
        with refusing(self.path), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # collect_batches is new; polars is pinned
            for raw in self.rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                for part in raw.iter_slices(BATCH_ROWS):
                    refuse_long_cells(part)
                    yield typed_rows(with_a_value(part) if self.path.suffix.lower() == ".csv" else part)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever makes a file unreadable into its refusal."""
    try:
        yield
    except (RefusedFile, MemoryError):
        raise
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        raise RefusedFile(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except (Exception, pl.exceptions.PanicException) as error:  # a panic is no Exception
        said = PANIC.search(str(error))
        reason = said["what"] if said else one_line(error)
        raise RefusedFile(f"{path.name}: cannot be read: {reason[:300]}") from error


def listing_file(path: Path) -> ListingFile:
    """Open a listing file.

    Raises:
        RefusedFile: it cannot be read, or lacks a required column.
    """
    if path.suffix.lower() not in SCANNERS:
        raise RefusedFile(f"{path.name}: not .parquet, .csv, .jsonl or .ndjson; rename or convert it")
    if not path.is_file():
        raise RefusedFile(f"{path}: there is no such file")
    with refusing(path):
        if path.suffix.lower() != ".parquet":
            refuse_other_text(path)
        rows = SCANNERS[path.suffix.lower()](path)
        columns = tuple(rows.collect_schema())
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        found = ", ".join(columns)[:200]
        other = next((f"; is it separated by {mark!r}, not by commas?" for mark in ";\t|" if mark in found), "")
        raise RefusedFile(
            f"{path.name}: required column {', '.join(missing)} is missing; nothing was landed. Found: {found}{other}"
        )
    return ListingFile(path, rows, columns)


def refuse_other_text(path: Path) -> None:
    """Refuse what would be read wrongly without an error: UTF-16, and lines that end with CR alone.

    Raises:
        RefusedFile: it is such a file.
    """
    with path.open("rb") as file:
        first = file.read(FIRST_BYTES)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise RefusedFile(f"{path.name}: it is UTF-16, not UTF-8; save it as UTF-8")
    if b"\r" in first and b"\n" not in first:
        raise RefusedFile(f"{path.name}: its lines end with CR alone; save it with LF or CR LF")


def refuse_long_cells(raw: pl.DataFrame) -> None:
    """Refuse a file with a cell that is longer than `MOST_CELL_BYTES`, before anything is made of it.

    Raises:
        ValueError: there is one; the message names its column.
    """
    if raw.estimated_size() <= MOST_CELL_BYTES:
        return
    for column in raw:
        if has_long_cell(column):
            raise ValueError(f"a cell of {column.name} is longer than {MOST_CELL_BYTES:,} bytes")


def has_long_cell(column: pl.Series) -> bool:
    """Whether a cell of text, bytes, lists or structs is longer than `MOST_CELL_BYTES`."""
    if column.dtype == pl.String:
        return longest(column.str.len_bytes()) > MOST_CELL_BYTES
    if column.dtype == pl.Binary:
        return longest(column.bin.size()) > MOST_CELL_BYTES
    if not column.dtype.is_nested() or column.to_arrow().nbytes <= MOST_CELL_BYTES:
        return False
    half = column.len() // 2  # no cell is longer than the rows that it is in
    return half == 0 or has_long_cell(column[:half]) or has_long_cell(column[half:])


def longest(lengths: pl.Series) -> int:
    return int(lengths.max() or 0)  # type: ignore[arg-type]


def with_a_value(lines: pl.DataFrame) -> pl.DataFrame:
    """A CSV file's lines but blank ones, and those without any value."""
    first, *others = lines.columns
    blank = pl.col(first).str.strip_chars().fill_null("") == ""
    if not lines.select(blank.any()).item():
        return lines
    return lines.filter(~blank | pl.any_horizontal(*(pl.col(name).is_not_null() for name in others)))


SCANNERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": lambda path: pl.scan_parquet(path, glob=False),
    ".csv": lambda path: pl.scan_csv(path, infer_schema=False, glob=False),  # text throughout
    ".jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
}
