"""The cells of listing files: made typed, and the row kept as it came."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC as UTC_ZONE
from datetime import datetime

import polars as pl

from vps_assets.tables.columns import TEXTS, UTC
from vps_assets.tables.listings import LANDED, WORDS

COLUMN_TYPES: Mapping[str, pl.DataType] = {name: spec.dtype.type for name, spec in LANDED.items()}
"""What a user brings: column -> type."""
CONTROLS = (
    r"[\x00-\x08\x0B-\x1F\x7F-\x9F\u00AD\u200B\u200E\u200F\u2028-\u202E\u2060-\u2064\u2066-\u2069\u2800\u3164\uFEFF]"
)
"""Characters that no words need: control characters but tab and line feed, separators of lines and paragraphs, marks
that turn the direction of a text, and what takes no room or no ink (but for joiners, which scripts and emoji need)."""
CODED_TEXT = (pl.Categorical, pl.Enum)
FORMATS_WITH_ZONE = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")
FORMATS_UTC = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
FIRST_TIME, LAST_TIME = datetime(1, 1, 1, tzinfo=UTC_ZONE), datetime(9999, 12, 31, tzinfo=UTC_ZONE)
"""What Python and DuckDB can hold; files can hold 290,000 years on either side."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC_ZONE)


@dataclass(frozen=True)
class TypedRows:
    """Some rows of a file with the contract's columns and types, and `row`: each row as it came, JSON."""

    frame: pl.DataFrame
    unreadable: Mapping[str, list[bool]]
    """Column -> a flag per row: the row had a value that could not be read as the column's type."""


def typed_rows(raw: pl.DataFrame) -> TypedRows:
    """Raw rows with the contract's columns and types."""
    coded = [pl.col(name).cast(pl.String) for name, dtype in raw.schema.items() if dtype in CODED_TEXT]
    raw = raw.with_columns(coded)
    wrong = impossible_times(raw)
    readable = raw.with_columns(pl.when(~mask).then(pl.col(name)).alias(name) for name, mask in wrong.items())
    rows = readable.select(pl.struct(encodable(readable)).struct.json_encode().alias("row"))["row"]
    present = [name for name in COLUMN_TYPES if name in raw.columns]
    raw, readable = (frame.with_columns(visible_words(frame)) for frame in (raw, readable))
    typed = readable.select(typed_column(name, raw.schema[name]) for name in present)
    unreadable = {}
    for name in present:
        given = given_values(raw[name])
        unreadable[name] = (given & typed[name].is_null()).to_list()
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in COLUMN_TYPES.items() if name not in present]
    frame = typed.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in COLUMN_TYPES.items())
    return TypedRows(frame.with_columns(with_impossible(rows, raw, wrong)), unreadable)


def encodable(raw: pl.DataFrame) -> list[pl.Expr]:
    """The columns as JSON can hold them: bytes, also nested ones, are not kept."""
    return [
        pl.lit("(bytes)").alias(name) if "Binary" in str(dtype) else pl.col(name) for name, dtype in raw.schema.items()
    ]


def visible_words(raw: pl.DataFrame) -> list[pl.Expr]:
    """The columns of sellers' words without what nobody sees; only a description has more than one line."""
    shown = []
    for name in WORDS:
        if raw.schema.get(name) == pl.String:
            words = pl.col(name).str.replace_all(CONTROLS, " ")
            shown.append(words if name == "description" else words.str.replace_all(r"\s+", " "))
    return shown


def impossible_times(raw: pl.DataFrame) -> dict[str, pl.Series]:
    """Column -> where it has a time that cannot be read (infinity, years before 1 or after 9999), if it has any."""
    found = {}
    for column in raw:
        if (window := limits(column.dtype)) is not None:
            mask = ~column.to_physical().is_between(*window).fill_null(value=True)
            if mask.any():
                found[column.name] = mask
    return found


def limits(dtype: pl.DataType) -> tuple[int, int] | None:
    """The first and last number of a temporal type that can be read; None for any other type."""
    if isinstance(dtype, pl.Datetime):
        per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit]
        first, last = (round(moment.timestamp()) * per_second for moment in (FIRST_TIME, LAST_TIME))
        return max(first, -(2**63)), min(last, 2**63 - 1)
    if dtype == pl.Date:
        return (FIRST_TIME - EPOCH).days, (LAST_TIME - EPOCH).days
    return (0, 86_400 * 10**9 - 1) if dtype == pl.Time else None


def with_impossible(rows: pl.Series, raw: pl.DataFrame, wrong: Mapping[str, pl.Series]) -> pl.Series:
    """The rows as JSON, with the numbers that the file has for times that cannot be read."""
    if not wrong:
        return rows
    texts = rows.to_list()
    for name, mask in wrong.items():
        numbers = raw[name].to_physical()
        for row in mask.arg_true():
            values = json.loads(texts[row]) | {name: f"{numbers[row]} as {raw.schema[name]}"}
            texts[row] = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return pl.Series(rows.name, texts, dtype=pl.String)


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
    """A UTC timestamp of the years 1 to 9999; without a zone it is taken as UTC."""
    if isinstance(dtype, pl.Datetime):
        aware = column.dt.replace_time_zone("UTC") if dtype.time_zone is None else column.dt.convert_time_zone("UTC")
        return aware.cast(UTC)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype != pl.String:
        return pl.lit(None, UTC)
    zoned = [column.str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in FORMATS_WITH_ZONE]
    plain = [column.str.to_datetime(f, time_unit="us", strict=False).dt.replace_time_zone("UTC") for f in FORMATS_UTC]
    day = column.str.to_date("%Y-%m-%d", strict=False)
    within = pl.when(day.to_physical().is_between((FIRST_TIME - EPOCH).days, (LAST_TIME - EPOCH).days)).then(day)
    read = pl.coalesce(*zoned, *plain, within.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    return pl.when(read.is_between(FIRST_TIME, LAST_TIME)).then(read)


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
