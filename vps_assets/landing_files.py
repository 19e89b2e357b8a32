"""Listing files as they come: Parquet, CSV or JSON Lines, read whole, made typed, the row kept as it was."""

from collections.abc import Mapping
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


@dataclass(frozen=True)
class TypedRows:
    """A file's rows with the contract's columns and types, and `row`: each row as it came, JSON."""

    source_file: str
    frame: pl.DataFrame
    unreadable: Mapping[str, list[bool]]
    """Column to a flag per row: there was a value, and it could not be read as the column's type."""
    unknown_columns: tuple[str, ...]


def read_typed(path: Path) -> TypedRows:
    """Read a listing file.

    Raises:
        RefusedFile: it cannot be read, or lacks a required column.
    """
    raw = read_raw(path)
    missing = [name for name in REQUIRED if name not in raw.columns]
    if missing:
        raise RefusedFile(f"{path.name}: required column {', '.join(missing)} is missing; nothing was landed")
    unknown = tuple(name for name in raw.columns if name not in COLUMNS)
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
    return TypedRows(path.name, frame.with_columns(rows), unreadable, unknown)


def encodable(raw: pl.DataFrame) -> list[pl.Expr]:
    """The columns as JSON can hold them: bytes, also nested ones, are not kept."""
    return [
        pl.lit("(bytes)").alias(name) if "Binary" in str(dtype) else pl.col(name) for name, dtype in raw.schema.items()
    ]


def read_raw(path: Path) -> pl.DataFrame:
    """The file as it is; CSV as text throughout."""
    readers = {".parquet": read_parquet, ".csv": read_csv, ".jsonl": read_json_lines, ".ndjson": read_json_lines}
    if path.suffix.lower() not in readers:
        raise RefusedFile(f"{path.name}: not .parquet, .csv, .jsonl or .ndjson; rename or convert it")
    if not path.is_file():
        raise RefusedFile(f"{path}: there is no such file")
    try:
        raw = readers[path.suffix.lower()](path)
        coded = [pl.col(name).cast(pl.String) for name, dtype in raw.schema.items() if dtype in CODED_TEXT]
        return raw.with_columns(coded)
    except (pl.exceptions.PolarsError, OSError, ValueError, UnicodeDecodeError) as error:
        raise RefusedFile(f"{path.name}: cannot be read: {str(error).splitlines()[0]}") from error


def read_parquet(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path)


def read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def read_json_lines(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path, infer_schema_length=None)


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
