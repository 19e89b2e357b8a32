"""Listing files as they come: Parquet, CSV or JSON Lines, read in batches, made typed, the row kept as it was."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

NUMBERS = ("price", "sold_price")
TIMESTAMPS = ("listed_at", "sold_at")
LISTS = ("attributes", "specifications")
REQUIRED = ("listing_id", "listed_at", "category", "image_path")
COLUMNS = (
    "listing_id", "listed_at", "category", "image_path", "price", "sold_at", "sold_price", "currency", "seller_id",
    "brand", "group_id", "attributes", "specifications",
)  # fmt: skip
CODED_TEXT = (pl.Categorical, pl.Enum)
UTC = pl.Datetime("us", "UTC")
FORMATS_WITH_ZONE = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")
FORMATS_UTC = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")


class RefusedFile(ValueError):
    """A file that is refused whole; the message names it, says why and what to do."""


BATCH_ROWS = 20_000
"""Rows in memory at a time, and in a row group of what lands."""


@dataclass(frozen=True)
class TypedRows:
    """Some rows of a file with the contract's columns and types, and `row`: each row as it came, JSON."""

    frame: pl.DataFrame
    unreadable: Mapping[str, list[bool]]
    """Column to a flag per row: there was a value, and it could not be read as the column's type."""


@dataclass(frozen=True)
class ListingFile:
    """A file that can be opened and has the required columns."""

    path: Path
    rows: pl.LazyFrame
    columns: tuple[str, ...]

    @property
    def unknown_columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in COLUMNS)

    def currencies(self) -> set[str]:
        """The currencies that the file is in.

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
            RefusedFile: the file cannot be read on.
        """
        with refusing(self.path), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # collect_batches is new; polars is pinned
            for raw in self.rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
                for part in raw.iter_slices(BATCH_ROWS):
                    yield typed_rows(part)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What makes a file unreadable refuses it."""
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
    present = [name for name in COLUMNS if name in raw.columns]
    typed = raw.select(typed_column(name, raw.schema[name]) for name in present)
    unreadable = {}
    for name in present:
        given = given_values(raw[name])
        unreadable[name] = (given & typed[name].is_null()).to_list()
    wanted = {name: column_type(name) for name in COLUMNS}
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in wanted.items() if name not in present]
    frame = typed.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
    return TypedRows(frame.with_columns(rows), unreadable)


def encodable(raw: pl.DataFrame) -> list[pl.Expr]:
    """The columns as JSON can hold them: bytes, also nested ones, are not kept."""
    return [
        pl.lit("(bytes)").alias(name) if "Binary" in str(dtype) else pl.col(name) for name, dtype in raw.schema.items()
    ]


def column_type(name: str) -> pl.DataType | type[pl.DataType]:
    if name in NUMBERS:
        return pl.Float64
    if name in TIMESTAMPS:
        return UTC
    return pl.List(pl.String) if name in LISTS else pl.String


def given_values(values: pl.Series) -> pl.Series:
    """Where a cell has a value: not null, and not blank text."""
    if values.dtype == pl.String:
        return values.str.strip_chars().fill_null("") != ""
    return values.is_not_null()


def typed_column(name: str, dtype: pl.DataType) -> pl.Expr:
    """A raw column as the contract's type; null where that cannot be."""
    column = pl.col(name)
    if dtype == pl.String:
        stripped = column.str.strip_chars()
        column = pl.when(stripped != "").then(stripped)
    if name in NUMBERS:
        return finite(column.cast(pl.Float64, strict=False))
    if name in TIMESTAMPS:
        return timestamp(column, dtype)
    if name in LISTS:
        return texts(column, dtype)
    return (column.cast(pl.String, strict=False) if not dtype.is_nested() else pl.lit(None, pl.String)).alias(name)


def finite(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_finite()).then(number)


def timestamp(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A UTC timestamp; without a zone it is taken as UTC."""
    if isinstance(dtype, pl.Datetime):
        aware = column.dt.replace_time_zone("UTC") if dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        return aware.cast(UTC)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype != pl.String:
        return pl.lit(None, UTC).alias(column.meta.output_name())
    zoned = [column.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in FORMATS_WITH_ZONE]
    plain = [column.str.to_datetime(f, time_unit="us", strict=False).dt.replace_time_zone("UTC") for f in FORMATS_UTC]
    day = column.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.coalesce(*zoned, *plain, day)


def texts(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A list of labels; text is cut at `|`."""
    if isinstance(dtype, pl.List):
        cut = column.cast(pl.List(pl.String), strict=False)
    elif dtype == pl.String:
        cut = column.str.split("|").list.eval(pl.element().str.strip_chars())
    else:
        return pl.lit(None, pl.List(pl.String)).alias(column.meta.output_name())
    return cut.list.eval(pl.element().filter((pl.element() != "") & pl.element().is_not_null()))
