"""Listing files as they come: Parquet, CSV or JSON Lines, read in batches, made typed, the row kept as it was."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vps_assets.errors import UserError
from vps_assets.tables.columns import TEXTS, UTC
from vps_assets.tables.listings import LANDED, REQUIRED

COLUMN_TYPES: Mapping[str, pl.DataType] = {name: spec.dtype.type for name, spec in LANDED.items()}
"""What a user brings: column -> type."""
CODED_TEXT = (pl.Categorical, pl.Enum)
FORMATS_WITH_ZONE = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")
FORMATS_UTC = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")


class RefusedFile(UserError):
    """A file is refused whole; the message names it, and has the reason and what to do."""


BATCH_ROWS = 20_000
"""Rows in memory at a time, and in a row group of what lands."""


@dataclass(frozen=True)
class TypedRows:
    """Some rows of a file with the contract's columns and types, and `row`: each row as it came, JSON."""

    frame: pl.DataFrame
    unreadable: Mapping[str, list[bool]]
    """Column -> a flag per row: the row had a value that could not be read as the column's type."""


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
            RefusedFile: the rest of the file cannot be read.
        """
        with refusing(self.path), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # collect_batches is new; polars is pinned
            for raw in self.rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                for part in raw.iter_slices(BATCH_ROWS):
                    yield typed_rows(part)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever makes a file unreadable into its refusal."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, ValueError, UnicodeDecodeError) as error:
        raise RefusedFile(f"{path.name}: cannot be read: {str(error).splitlines()[0]}") from error


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
        rows = SCANNERS[path.suffix.lower()](path)
        columns = tuple(rows.collect_schema())
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise RefusedFile(f"{path.name}: required column {', '.join(missing)} is missing; nothing was landed")
    return ListingFile(path, rows, columns)


SCANNERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": lambda path: pl.scan_parquet(path, glob=False),
    ".csv": lambda path: pl.scan_csv(path, infer_schema=False, glob=False),  # text throughout
    ".jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
}


def typed_rows(raw: pl.DataFrame) -> TypedRows:
    """Raw rows with the contract's columns and types."""
    coded = [pl.col(name).cast(pl.String) for name, dtype in raw.schema.items() if dtype in CODED_TEXT]
    raw = raw.with_columns(coded)
    rows = raw.select(pl.struct(encodable(raw)).struct.json_encode().alias("row"))["row"]
    present = [name for name in COLUMN_TYPES if name in raw.columns]
    typed = raw.select(typed_column(name, raw.schema[name]) for name in present)
    unreadable = {}
    for name in present:
        given = given_values(raw[name])
        unreadable[name] = (given & typed[name].is_null()).to_list()
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in COLUMN_TYPES.items() if name not in present]
    frame = typed.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in COLUMN_TYPES.items())
    return TypedRows(frame.with_columns(rows), unreadable)


def encodable(raw: pl.DataFrame) -> list[pl.Expr]:
    """The columns as JSON can hold them: bytes, also nested ones, are not kept."""
    return [
        pl.lit("(bytes)").alias(name) if "Binary" in str(dtype) else pl.col(name) for name, dtype in raw.schema.items()
    ]


def given_values(values: pl.Series) -> pl.Series:
    """Where a cell has a value: not null, and not blank text."""
    if values.dtype == pl.String:
        return values.str.strip_chars().fill_null("") != ""
    return values.is_not_null()


def typed_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """A raw column as the contract's type; null where it cannot be converted."""
    column = pl.col(name)
    if dtype == pl.String:
        stripped = column.str.strip_chars()
        column = pl.when(stripped != "").then(stripped)
    return READERS[COLUMN_TYPES[name]](column, dtype).alias(name)


def text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Text; what is nested is not text."""
    return pl.lit(None, pl.String) if dtype.is_nested() else column.cast(pl.String, strict=False)


def number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A finite number."""
    cast = column.cast(pl.Float64, strict=False)
    return pl.when(cast.is_finite()).then(cast)


def timestamp(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A UTC timestamp; without a zone it is taken as UTC."""
    if isinstance(dtype, pl.Datetime):
        aware = column.dt.replace_time_zone("UTC") if dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        return aware.cast(UTC)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype != pl.String:
        return pl.lit(None, UTC)
    zoned = [column.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in FORMATS_WITH_ZONE]
    plain = [column.str.to_datetime(f, time_unit="us", strict=False).dt.replace_time_zone("UTC") for f in FORMATS_UTC]
    day = column.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.coalesce(*zoned, *plain, day)


def texts(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A list of labels; text is split at `|`."""
    if isinstance(dtype, pl.List):
        cut = column.cast(pl.List(pl.String), strict=False)
    elif dtype == pl.String:
        cut = column.str.split("|").list.eval(pl.element().str.strip_chars())
    else:
        return pl.lit(None, TEXTS)
    return cut.list.eval(pl.element().filter((pl.element() != "") & pl.element().is_not_null()))


READERS: Mapping[pl.DataType, Callable[[pl.Expr, pl.DataType], pl.Expr]] = {
    pl.String(): text,
    pl.Float64(): number,
    UTC: timestamp,
    TEXTS: texts,
}
"""Type of a column -> (raw column, its raw type) -> the column as that type."""
