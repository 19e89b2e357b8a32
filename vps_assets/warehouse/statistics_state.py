"""The statistics tables: corrected where sales have changed, not computed again.

The schema `state` holds what each table was made from: how many sales of which group, day and price each listing date
brought (`state.<asset>`), and which version of that date that was (`state.taken`). Such counts are exact and add up,
so a date that has changed is taken out and put in again, and only the groups and days that this touches are computed
(docs/adr/0007).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import duckdb
import polars as pl

from vps_assets.errors import UserError
from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.columns import TEXTS
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, conforming, types
from vps_assets.warehouse import unchecked
from vps_assets.warehouse.catalogue import quoted, table_exists
from vps_assets.warehouse.database import NO_CHECKS, Warehouse, take_columns_of_incoming
from vps_assets.warehouse.records import prepare_records, read_records, record
from vps_assets.warehouse.unchecked import Checks
from vps_ml.features.statistics import price_history
from vps_ml.features.tabular import GROUP_OF, LABEL, LABEL_HISTORY, MOMENTS, SAID_LABELS
from vps_ml.recipes import Recipe

EPOCH = date(1970, 1, 1)
LABELS = f"{LABEL_HISTORY}_statistics"
MOST_AT_ONCE = 1_000_000
"""Sales of one price and day, counted as one, that are taken at a time."""
MOST_MEMORY = "1GB"
"""DuckDB's: what needs more goes through its files. By default it keeps up to four fifths of the machine's."""
KEYS = {f"{history}_statistics": column for history, column in GROUP_OF.items()}
"""Statistics table -> the column of its group."""
SOURCE = "clean_listings"
COLUMNS = types(TABLES[SOURCE])
EACH_LABEL = ", ".join(
    f"list_transform({name}, lambda x: '{name}{LABEL}' || x)"
    if COLUMNS[name] == TEXTS
    else f"case when {name} is null then [] else ['{name}{LABEL}' || {name}] end"
    for name in SAID_LABELS
)
NO_LABELS = ", ".join(f"null::{'varchar[]' if COLUMNS[name] == TEXTS else 'varchar'} as {name}" for name in SAID_LABELS)
WITH_LABELS = f"""(
    select listed_on, sold_on, sold_price, unnest(list_distinct(list_concat({EACH_LABEL}))) as {LABEL_HISTORY}
    from (from {SOURCE} union all by name select {NO_LABELS} where false)
)"""  # noqa: S608
"""A row for each label of each listing, also where a table that older code wrote lacks a column of labels."""


def source_of(asset: str) -> str:
    """What a statistics table counts the sales of: SQL with a row for each sale of each of its groups."""
    return WITH_LABELS if asset == LABELS else SOURCE


@dataclass(frozen=True)
class Correction:
    """What was changed in a statistics table."""

    rebuilt: bool
    listing_dates: int
    """How many had changed."""
    groups: int
    """How many had their sales changed."""
    since: date | None
    """The first day of a sale that changed: no row up to this day was touched. None if nothing changed."""
    rows: int
    """Written."""


def correct_history(warehouse: Warehouse, asset: str, recipe: Recipe, checks: Checks = NO_CHECKS) -> Correction:
    """Bring a statistics table up to date with `clean_listings`, in one transaction.

    A sale that lands late corrects its group from the day after it was sold, and nothing else. If no listing date
    has changed, which means that the table was named in a run, or if the code has, all of it is computed again.
    `checks` are the blocking checks that the table has to pass before it is published.

    Raises:
        UserError: there is no table `clean_listings` yet.
    """

    def correct(connection: duckdb.DuckDBPyConnection) -> Correction:
        if not table_exists(connection, SOURCE):
            raise UserError(f"there is no {SOURCE} yet: materialise it first")
        with frugal(connection):
            return corrected(connection, asset, recipe, checks)

    return warehouse.transact(correct, asset)


def corrected(connection: duckdb.DuckDBPyConnection, asset: str, recipe: Recipe, checks: Checks) -> Correction:
    """Bring the open warehouse's table up to date."""
    prepare(connection, asset)
    made = read_records(connection, [SOURCE]).made.get(SOURCE, {})
    versions = {day: version(asset, fingerprint) for day, fingerprint in made.items()}
    changed, rebuilt = changed_dates(connection, asset, versions)
    if rebuilt:
        connection.execute(f"delete from state.{asset}")  # noqa: S608
        connection.execute(f"delete from {asset}")  # noqa: S608
    take(connection, asset, changed)
    remove(connection, asset)
    arrange(connection, asset)
    rows = sum(add(connection, asset, corrected_rows(connection, asset, *some)) for some in slices(connection))
    note_taken(connection, asset, changed, versions)
    basis = basis_of(asset, WHOLE, recipe, Records({SOURCE: made}))
    record(connection, asset, {WHOLE: Fingerprint(basis) if basis else None})
    groups, since = connection.execute("select count(*), min(since) from corrected").fetchall()[0]
    untouched = None if rebuilt else since or date.max
    record_digests(connection, asset, untouched or date.min)
    connection.execute("delete from state.corrections where asset = ?", [asset])
    connection.execute("insert into state.corrections values (?, ?, now())", [asset, untouched])
    unchecked.add(connection, asset, [WHOLE], checks)
    return Correction(rebuilt, len(changed), groups, since, rows)


@contextlib.contextmanager
def frugal(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let the connection's database take `MOST_MEMORY`, so that memory does not grow with the sales."""
    with contextlib.suppress(duckdb.OutOfMemoryException):  # others of this process hold more at the moment
        connection.execute(f"set memory_limit = '{MOST_MEMORY}'")
    try:
        yield
    finally:
        with connection.cursor() as outside:  # of a transaction that an error may have broken off
            outside.execute("reset memory_limit")  # which shows the default, and leaves what is in force
            (default,) = outside.execute("select current_setting('memory_limit')").fetchall()[0]
            outside.execute(f"set memory_limit = '{default}'")


def prepare(connection: duckdb.DuckDBPyConnection, asset: str) -> None:
    """Create the tables that are missing, and give a table of older code today's columns."""
    prepare_records(connection)
    connection.execute("create schema if not exists state")
    connection.execute(
        f"create table if not exists state.{asset} (listed_on date, sold_on date, key text, price double, sales bigint)"
    )
    connection.execute("create table if not exists state.taken (asset text, listed_on text, version text)")
    connection.execute(
        "create table if not exists state.corrections (asset text, since date, corrected_at timestamptz)"
    )
    connection.register("incoming", conforming(pl.DataFrame(), TABLES[asset]).to_arrow())
    connection.execute(f"create table if not exists {asset} as from incoming")
    take_columns_of_incoming(connection, asset)


def version(asset: str, fingerprint: Fingerprint) -> str:
    """What is noted of a listing date that has been taken in: the code's version and the date's fingerprint."""
    return f"{code_prefix(asset)}{fingerprint.basis}"


def code_prefix(asset: str) -> str:
    """How the versions of dates that this code has taken in begin."""
    return f"{LINEAGE[asset].code_version}:"


def changed_dates(
    connection: duckdb.DuckDBPyConnection, asset: str, versions: dict[str, str]
) -> tuple[list[str], bool]:
    """(the listing dates to take in, whether all of the table is computed again)."""
    query = "select listed_on, version from state.taken where asset = ?"
    taken = dict(connection.execute(query, [asset]).fetchall())
    changed = sorted(day for day in versions.keys() | taken.keys() if versions.get(day) != taken.get(day))
    code = code_prefix(asset)
    if not changed or not taken or not all(value.startswith(code) for value in taken.values()):
        return sorted(versions.keys() | taken.keys()), True
    return changed, False


def take(connection: duckdb.DuckDBPyConnection, asset: str, changed: list[str]) -> None:
    """Replace the sales that were taken in of the changed dates.

    Leaves the temporary table `corrected`: the groups whose sales are different now, numbered, and since when.
    """
    key = quoted(column) if (column := KEYS[asset]) else "''"
    connection.execute("create or replace temp table changed as select cast(unnest(?) as date) as listed_on", [changed])
    connection.execute(
        f"""
        create or replace temp table fresh as
        select listed_on, sold_on, {key} as key, sold_price as price, count(*) as sales
        from {source_of(asset)} semi join changed using (listed_on)
        where sold_on is not null and {key} is not null group by all
        """  # noqa: S608
    )
    connection.execute(f"create or replace temp table stale as from state.{asset} semi join changed using (listed_on)")  # noqa: S608
    connection.execute(
        """
        create or replace temp table corrected as
        select key, min(sold_on) as since, row_number() over (order by key) - 1 as number
        from ((from fresh except from stale) union all (from stale except from fresh)) group by key
        """
    )
    connection.execute(f"delete from state.{asset} where listed_on in (from changed)")  # noqa: S608
    connection.execute(f"insert into state.{asset} from fresh order by listed_on, sold_on")  # noqa: S608


def arrange(connection: duckdb.DuckDBPyConnection, asset: str) -> None:
    """Leave the temporary table `entries`: the corrected groups' sales, in the order of the groups' numbers.

    In that order a slice is read off its own blocks, so that many slices cost no more than few.
    """
    connection.execute(
        f"""
        create or replace temp table entries as
        select
            number, greatest(sold_on, since - 1) - date '1970-01-01' as day, price, sum(sales)::bigint as sales
        from state.{asset} join corrected using (key) group by all order by number
        """  # noqa: S608
    )


def slices(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, int]]:
    """The corrected groups in runs of numbers, from one up to another, with about `MOST_AT_ONCE` entries each.

    Groups do not depend on each other, so memory does not grow with them.
    """
    query = """
        select max(number) + 1 as until from (
            select number, (sum(count(*)) over (order by number) - 1)::bigint // ? as slice
            from entries group by number
        ) group by slice order by until
    """
    ends = [until for (until,) in connection.execute(query, [MOST_AT_ONCE]).fetchall()]
    return list(pairwise([0, *ends]))


def corrected_rows(connection: duckdb.DuckDBPyConnection, asset: str, first: int, until: int) -> pl.DataFrame:
    """Some corrected groups' rows from the day after their first changed sale."""
    some = [first, until]
    query = "select key, since from corrected where number >= ? and number < ? order by number"
    groups = pl.DataFrame(connection.execute(query, some).to_arrow_table())
    query = "select number - ? as number, day, price, sales from entries where number >= ? and number < ?"
    entries = connection.execute(query, [first, *some]).to_arrow_table()
    number, day, price, sales = (column.to_numpy() for column in pl.DataFrame(entries))
    since = (groups["since"].cast(pl.Date) - EPOCH).dt.total_days().to_numpy()
    history = price_history(price, day, number, sales, since)
    columns: dict[str, object] = {"as_of": [EPOCH + timedelta(days=int(day)) for day in history.as_of_day]}
    if KEYS[asset]:
        columns[str(KEYS[asset])] = groups["key"].gather(history.group)
    quartiles = dict(zip(MOMENTS[:3], history.quartiles.T, strict=True))
    rows = pl.DataFrame({**columns, "sales": history.sales, **quartiles, "mean": history.mean})
    return conforming(rows, TABLES[asset])


def remove(connection: duckdb.DuckDBPyConnection, asset: str) -> None:
    """Delete the corrected groups' rows from the first changed day on."""
    same_group = f"and {asset}.{quoted(column)} = corrected.key" if (column := KEYS[asset]) else ""
    connection.execute(f"delete from {asset} using corrected where {asset}.as_of > since {same_group}")  # noqa: S608


def add(connection: duckdb.DuckDBPyConnection, asset: str, rows: pl.DataFrame) -> int:
    """Insert corrected rows; how many."""
    one_slice = rows.to_arrow()  # noqa: F841  (DuckDB finds it by its name; one that is registered lives until the commit)
    return connection.execute(f"insert into {asset} by name from one_slice").fetchall()[0][0]  # noqa: S608


def note_taken(connection: duckdb.DuckDBPyConnection, asset: str, changed: list[str], versions: dict[str, str]) -> None:
    """Note which version of each changed listing date has been taken in."""
    noted = [(asset, day, versions[day]) for day in changed if day in versions]
    frame = pl.DataFrame(noted, schema=dict.fromkeys(("asset", "listed_on", "version"), pl.String), orient="row")
    connection.register("noted", frame.to_arrow())
    connection.execute("delete from state.taken where asset = ? and list_contains(?, listed_on)", [asset, changed])
    connection.execute("insert into state.taken from noted")


def record_digests(connection: duckdb.DuckDBPyConnection, asset: str, since: date) -> None:
    """Record the digest of each day's rows after `since`: listings of a day depend on that day's and earlier."""
    connection.execute("delete from lineage.digests where asset = ? and as_of > ?", [asset, str(since)])
    connection.execute(
        f"""
        insert into lineage.digests select ?, as_of::text, bit_xor(hash({asset}))::text
        from {asset} where as_of > ? group by as_of
        """,  # noqa: S608
        [asset, since],
    )


def corrected_since(warehouse: Warehouse, asset: str) -> date | None:
    """The day up to which the last correction left a statistics table as it was; None if all of it was made."""
    with warehouse.connect(read_only=True) as connection:
        if not table_exists(connection, "state.corrections"):
            return None
        noted = connection.execute("select since from state.corrections where asset = ?", [asset]).fetchall()
    return noted[0][0] if noted else None
