"""What has landed: the rows in force, and what planning needs of them.

Files are read by column name: a column that an older landing lacks is null.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.landing.landings import LANDING_ID, ForeignFile, reading
from vps_assets.lineage.fingerprints import Fingerprint, landed_fingerprints
from vps_assets.settling import settle
from vps_assets.tables.listings import RAW_LISTINGS
from vps_assets.tables.partitions import EARLIEST_DAY
from vps_assets.tables.schemas import types

OWN_COLUMNS: dict[str, pl.DataType] = {"listing_key": pl.String(), "content": pl.String(), "line": pl.Int64()}
"""Columns of a landing beside those of `raw_listings`."""

IN_FORCE = """
create temp table in_force as
with numbered as (
    select listing_key, content, landing_reasons, listed_on, landing_id, line, len(landing_reasons) = 0 as good,
        struct_pack(a := landed_at, b := landing_id, c := line) as moment
    from landed
),
requested as (select listing_key from numbered where listed_on between ? and ?),
dated as (
    select *, max(moment) filter (good) over (partition by listing_key) as last_good
    from numbered semi join requested using (listing_key)
),
changed as (
    select * from dated
    where good or last_good is null or moment > last_good
    qualify lag((content, landing_reasons)) over (partition by listing_key, good order by moment)
        is distinct from (content, landing_reasons)
)
select landing_id, line from changed
qualify row_number() over (partition by listing_key, good order by moment desc) = 1
"""
"""The landed rows in force: a listing's newest good row, and its newest bad one if that came later.

A bad row never replaces a good one, and a good one removes the bad ones before it. A row that came again unchanged,
and with the same reasons against it, stays with the landing that first brought it, so that landing an export again
touches nothing. Only narrow columns are read for this, and whole rows only of the requested days.
"""


VIEW = """
create temp view landed as
select * replace (coalesce(landing_id, parse_filename(filename, true)) as landing_id)
from (from today union all by name from stored)
"""
FOREIGN = """
select filename from landed
where listing_key is null or content is null or line is null or landed_at is null or listed_on is null
limit 1
"""
"""A file that lacks what every landing has."""


@contextmanager
def opened(files: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the view `landed`: the rows of these landings, at least one, and their `filename`."""
    with duckdb.connect() as connection:
        settle(connection, Path(files[0]).parent)
        connection.register("today", pl.DataFrame(schema=types(RAW_LISTINGS) | OWN_COLUMNS).to_arrow())
        connection.read_parquet(list(files), filename=True, union_by_name=True).create_view("stored")
        connection.execute(VIEW)
        yield connection


def rows_in_force(
    files: Sequence[str], columns: Sequence[str], first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """These columns of the rows in force of some landings, at least one, listed from `first` to `last`.

    Raises:
        ForeignFile: one of the files is no landing.
    """
    window = [first or EARLIEST_DAY, last or date.today() + timedelta(days=1)]
    names = ", ".join(f'"{name}"' for name in columns)
    with opened(files) as connection:
        if foreign := connection.execute(FOREIGN).fetchone():
            raise ForeignFile(f"{foreign[0]} was not written by `vps land`: move it away, and land it")
        connection.execute(IN_FORCE, window)
        query = f"""
            select {names} from landed semi join in_force using (landing_id, line)
            where listed_on between ? and ? order by landing_id, line
        """  # noqa: S608
        return pl.DataFrame(connection.execute(query, window).to_arrow_table())


def landed_rows(
    home: Home, columns: Sequence[str], first: date | None = None, last: date | None = None
) -> pl.DataFrame:
    """The landed rows in force, listed from `first` to `last`; empty if nothing has landed."""
    dtypes = types(RAW_LISTINGS)
    nothing = pl.DataFrame(schema={name: dtypes[name] for name in columns})
    return reading(home, lambda files: rows_in_force(files, columns, first, last) if files else nothing)


def all_landed(home: Home, columns: Sequence[str], seller: str | None = None) -> pl.DataFrame:
    """These columns of all rows that ever landed, in force or not; of one seller's, if one is given."""
    query = f"select {', '.join(columns)} from landed where ? is null or seller_id = ?"  # noqa: S608

    def read(files: list[str]) -> pl.DataFrame:
        if not files:
            return landed_rows(home, columns)
        with opened(files) as connection:
            return pl.DataFrame(connection.execute(query, [seller, seller]).to_arrow_table())

    return reading(home, read)


def first_landed_day(home: Home) -> date | None:
    """The first listing date of all landed rows; None if nothing has landed."""

    def read(files: list[str]) -> date | None:
        if not files:
            return None
        with opened(files) as connection:
            return connection.execute("select min(listed_on) from landed").fetchall()[0][0]

    return reading(home, read)


@dataclass(frozen=True)
class LandedIndex:
    """What planning needs of everything that has landed."""

    fingerprints: dict[str, Fingerprint]
    """Of the dates of `raw_listings`."""
    sales: int
    """Good sold listings."""


def landed_index(home: Home) -> LandedIndex:
    """The index of all landings; computed again only if they, or the date, have changed in this process.

    Computing it costs what history holds, and every tick of two sensors needs it.
    """
    today = date.today()
    return reading(home, lambda files: index_of(tuple((f, Path(f).stat().st_mtime_ns) for f in files), today))


@lru_cache(maxsize=1)
def index_of(files: Sequence[tuple[str, int]], today: date) -> LandedIndex:
    """The index of these files as they were at these times, listed until tomorrow."""
    if not files:
        return LandedIndex({}, 0)
    columns = ["listed_on", LANDING_ID, "sold_price", "landing_reasons"]
    rows = rows_in_force([file for file, _ in files], columns, last=today + timedelta(days=1))
    good = rows.filter(pl.col("sold_price").is_not_null(), pl.col("landing_reasons").list.len() == 0)
    return LandedIndex(landed_fingerprints(rows), good.height)
