"""Which partitions of which tables wait for their blocking checks.

A write adds its partitions to `lineage.unchecked`, in its own transaction, once for each blocking check of the table;
the end of a run adds those of them whose check it passed to `lineage.passed`. A partition waits as long as a check of
its newest write has not passed. What waits is out of date, and its table is not published (`publication`). So a check
that failed, and one that a kill prevented, count alike. Both tables are only added to (`records`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from vps_assets.lineage.graph import OF_ALL_DATES
from vps_assets.warehouse.records import NEWEST, made_columns, newest, prepare_records, writes

UNCHECKED = """
create schema if not exists lineage;
create table if not exists lineage.unchecked (
    asset text, partition text, check_name text, run_id text, written_at timestamptz, number bigint
);
"""
PASSED = """
create table if not exists lineage.passed (
    asset text, partition text, check_name text, number bigint, passed_at timestamptz
);
"""
WAITING = """
select waiting.* from lineage.unchecked as waiting
semi join (select asset, partition, max(coalesce(number, 0)) as number from lineage.unchecked group by all) as newest
    on waiting.asset = newest.asset and waiting.partition = newest.partition
    and coalesce(waiting.number, 0) = newest.number
anti join lineage.passed as passed
    on waiting.asset = passed.asset and waiting.partition = passed.partition
    and waiting.check_name = passed.check_name and coalesce(waiting.number, 0) = passed.number
where waiting.check_name is not null
"""
NO_CHECK: list[str | None] = [None]
"""What is noted of a write that no check is to pass: what waited before does not any more."""


@dataclass(frozen=True)
class Checks:
    """The blocking checks that what a run writes has to pass."""

    run_id: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passed:
    """A check that a run has passed."""

    asset: str
    name: str
    run_id: str
    began_at: float
    """Seconds since 1970: what was written later it has not seen."""


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables, or give those of an older warehouse today's columns, within the caller's transaction."""
    connection.execute(UNCHECKED)
    connection.execute(PASSED)
    if "number" not in made_columns(connection, "unchecked"):
        connection.execute("alter table lineage.unchecked add column number bigint")


def add(connection: duckdb.DuckDBPyConnection, asset: str, partitions: Sequence[str], checks: Checks) -> None:
    """These partitions have been written and recorded: the last thing before the caller's transaction is committed.

    A check that begins before has not seen them, so it is noted when it is now, and not when the transaction began.
    """
    prepare(connection)
    new = """
        insert into lineage.unchecked
        select ?, unnest(?), check_name, ?, ?, ? from (select unnest(?::text[]) as check_name)
    """
    now, number = datetime.now(UTC), writes(connection, asset)
    names = list(checks.names) or NO_CHECK
    connection.execute(new, [asset, list(partitions), checks.run_id, now, number, names])


def note(connection: duckdb.DuckDBPyConnection, passed: Sequence[Passed]) -> None:
    """Checks have passed: of what their run wrote or, if they look at all dates, of what was written before them."""
    prepare(connection)
    new = f"""
        insert into lineage.passed
        select asset, partition, check_name, coalesce(number, 0), now() from ({WAITING})
        where asset = ? and check_name = ? and (run_id = ? or (? and written_at < to_timestamp(?)))
    """  # noqa: S608
    for one in passed:
        connection.execute(new, [one.asset, one.name, one.run_id, one.name in OF_ALL_DATES, one.began_at])


def read(connection: duckdb.DuckDBPyConnection, run_id: str | None = None) -> Mapping[str, set[str]]:
    """Asset -> partitions that wait for a check; of those that a run wrote, or all."""
    columns = made_columns(connection, "unchecked")
    if not columns:
        return {}
    waiting = WAITING if "number" in columns and made_columns(connection, "passed") else "from lineage.unchecked"
    whose = "true" if run_id is None else "run_id = $1"
    query = f"select distinct asset, partition from ({waiting}) where {whose} order by all"  # noqa: S608
    found: dict[str, set[str]] = {}
    for asset, partition in connection.execute(query, [] if run_id is None else [run_id]).fetchall():
        found.setdefault(asset, set()).add(partition)
    return found


def superseded(connection: duckdb.DuckDBPyConnection) -> int:
    """How many records have a newer one."""
    query = newest(connection)
    if query != NEWEST:
        return 0
    return connection.execute(f"select (select count(*) from lineage.made) - count(*) from ({query})").fetchall()[0][0]  # noqa: S608


COMPACTED = frozenset({"lineage.unchecked", "lineage.made", "lineage.passed"})
"""The tables that `compact` writes."""


def compact(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget records that have a newer one and what no longer waits, within the caller's transaction."""
    prepare_records(connection)
    prepare(connection)
    connection.execute(f"create or replace temp table kept_unchecked as {WAITING}")
    connection.execute(f"create or replace temp table kept_made as {NEWEST}")
    for table in ("unchecked", "made"):
        connection.execute(f"delete from lineage.{table}")  # noqa: S608
        connection.execute(f"insert into lineage.{table} by name from kept_{table}")  # noqa: S608
    connection.execute("delete from lineage.passed")
