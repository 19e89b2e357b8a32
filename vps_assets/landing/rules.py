"""What makes a landed row bad: one pandera schema whose failures are the reasons."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from vps_assets.landing.cells import COLUMN_TYPES, TypedRows
from vps_assets.tables.columns import TEXTS, UTC
from vps_assets.tables.listings import WORDS
from vps_assets.tables.partitions import EARLIEST_DAY

MOST_MONEY = 1e12
"""No item costs this much in any currency, and sums of such prices would not be exact."""
CLOCK_TOLERANCE = timedelta(hours=1)
"""How far a marketplace's clock may be ahead of ours."""


def rule(sentence: str, holds: pl.Expr) -> pa.Check:
    """A check on rows whose failure is this reason; a null counts as holding."""
    return pa.Check(lambda data: data.lazyframe.select(holds.fill_null(True)), error=sentence)


def landing_schema(now: datetime) -> pa.DataFrameSchema:
    """The rules of rows that land now."""
    latest = now + CLOCK_TOLERANCE
    listed_at, sold_at = pl.col("listed_at"), pl.col("sold_at")
    return pa.DataFrameSchema(
        {name: pa.Column(nullable=True, required=False) for name in COLUMN_TYPES},
        checks=[
            rule("listing_id is missing", pl.col("listing_id").is_not_null()),
            rule("listed_at is missing", listed_at.is_not_null() | pl.col("listed_at_unreadable")),
            rule("category is missing", pl.col("category").is_not_null()),
            rule("category may not be called all: reports use that name", pl.col("category") != "all"),
            rule("listed_at lies in the future", listed_at <= latest),
            rule(f"listed_at lies before {EARLIEST_DAY.year}", listed_at.dt.date() >= EARLIEST_DAY),
            rule("price is not positive", pl.col("price") > 0),
            rule("sold_price is not positive", pl.col("sold_price") > 0),
            rule(f"price is {MOST_MONEY:.0e} or more", pl.col("price") < MOST_MONEY),
            rule(f"sold_price is {MOST_MONEY:.0e} or more", pl.col("sold_price") < MOST_MONEY),
            rule("sold before it was listed", sold_at >= listed_at),
            rule("sold_at lies in the future", sold_at <= latest),
            rule("sold_at without sold_price", sold_at.is_null() | given("sold_price")),
            rule("sold_price without sold_at", pl.col("sold_price").is_null() | given("sold_at")),
            *(
                rule(f"{name} is longer than {most:,} characters", pl.col(name).str.len_chars() <= most)
                for name, most in WORDS.items()
            ),
        ],
    )


def given(name: str) -> pl.Expr:
    """Whether the row had a value, readable or not: an unreadable one has its own reason."""
    return pl.col(name).is_not_null() | pl.col(f"{name}_unreadable")


KINDS = {pl.String(): "text", TEXTS: "text", pl.Float64(): "number", UTC: "timestamp"}
"""Type of a column -> the word for it in reasons."""


def reasons_of_rows(typed: TypedRows, photo_reasons: Sequence[str | None], now: datetime) -> list[list[str]]:
    """Every reason that applies to each row, in a fixed order; an empty list for a good row."""
    nothing = [False] * typed.frame.height
    flags = {f"{name}_unreadable": typed.unreadable.get(name, nothing) for name in COLUMN_TYPES}
    found: list[list[str]] = [[] for _ in range(typed.frame.height)]
    for name, unreadable in typed.unreadable.items():
        for row, bad in enumerate(unreadable):
            if bad:
                found[row].append(f"{name} is not a {KINDS[COLUMN_TYPES[name]]}")
    checked = typed.frame.with_columns(pl.Series(name, values, dtype=pl.Boolean) for name, values in flags.items())
    try:
        landing_schema(now).validate(checked, lazy=True)
    except SchemaErrors as error:
        for failed, row in error.failure_cases.select("check", "index").sort("index", "check").iter_rows():
            found[row].append(failed)
    for row, reason in enumerate(photo_reasons):
        if reason and reason not in found[row]:
            found[row].append(reason)
    return found
