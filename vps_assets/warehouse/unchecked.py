"""Which partitions of which tables wait for their blocking checks.

A write adds its partitions to `lineage.unchecked`, in its own transaction, once for each blocking check of the table;
the end of a run notes in `lineage.passed` which checks passed. A partition waits as long as none passed of its
newest write. What waits is out of date, and its table is not published (`publication`). So a check that failed, and one
that a kill prevented, count alike. Both tables are only added to (`records`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from vps_assets.lineage.graph import OF_ALL_DATES
from vps_assets.warehouse.records import NEWEST, made_columns, newest, prepare_records, writes

UNCHECKED = """
create table if not exists lineage.unchecked (
    asset text, partition text, check_name text, run_id text, written_at timestamptz, number bigint
);
"""
PASSED = """
create table if not exists lineage.passed (
    asset text, check_name text, run_id text, of_all boolean, began_at timestamptz, passed_at timestamptz
);
"""
WAITING = """
select waiting.* from lineage.unchecked as waiting
semi join ({newest}) as made
    on waiting.asset = made.asset and waiting.partition = made.partition
    and coalesce(waiting.number, 0) = coalesce(made.number, 0)
anti join lineage.passed as passed
    on waiting.asset = passed.asset and waiting.check_name = passed.check_name
    and (waiting.run_id = passed.run_id and waiting.written_at <= passed.passed_at
        or passed.of_all and waiting.written_at < passed.began_at)
"""


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
    prepare_records(connection)
    connection.execute(UNCHECKED)
    connection.execute(PASSED)
    if "number" not in made_columns(connection, "unchecked"):
        connection.execute("alter table lineage.unchecked add column number bigint")


def add(connection: duckdb.DuckDBPyConnection, asset: str, partitions: Sequence[str], checks: Checks) -> None:
    """These partitions have been written and recorded, within the caller's transaction."""
    prepare(connection)
    new = """
        insert into lineage.unchecked
        select ?, unnest(?), check_name, ?, now(), ? from (select unnest(?) as check_name)
    """
    number = writes(connection, asset)
    connection.execute(new, [asset, list(partitions), checks.run_id, number, list(checks.names)])


def note(connection: duckdb.DuckDBPyConnection, passed: Sequence[Passed]) -> None:
    """Checks have passed: of what their run wrote or, if they look at all dates, of what was written before them."""
    prepare(connection)
    for one in passed:
        connection.execute(
            "insert into lineage.passed values (?, ?, ?, ?, to_timestamp(?), now())",
            [one.asset, one.name, one.run_id, one.name in OF_ALL_DATES, one.began_at],
        )


def read(connection: duckdb.DuckDBPyConnection) -> Mapping[str, set[str]]:
    """Asset -> partitions that wait for a check."""
    columns = made_columns(connection, "unchecked")
    if not columns:
        return {}
    waiting = WAITING.format(newest=newest(connection)) if "number" in columns else "from lineage.unchecked"
    query = f"select distinct asset, partition from ({waiting}) order by all"  # noqa: S608
    found: dict[str, set[str]] = {}
    for asset, partition in connection.execute(query).fetchall():
        found.setdefault(asset, set()).add(partition)
    return found


def superseded(connection: duckdb.DuckDBPyConnection) -> int:
    """How many records have a newer one."""
    query = newest(connection)
    if query != NEWEST:
        return 0
    return connection.execute(f"select (select count(*) from lineage.made) - count(*) from ({query})").fetchall()[0][0]  # noqa: S608


def compact(connection: duckdb.DuckDBPyConnection) -> None:
    """Forget records that have a newer one and what no longer waits, within the caller's transaction."""
    prepare(connection)
    connection.execute(f"create or replace temp table kept_unchecked as {WAITING.format(newest=NEWEST)}")
    connection.execute(f"create or replace temp table kept_made as {NEWEST}")
    for table in ("unchecked", "made"):
        connection.execute(f"delete from lineage.{table}")  # noqa: S608
        connection.execute(f"insert into lineage.{table} by name from kept_{table}")  # noqa: S608
    # A writer on another host may be about to commit what a check of today has looked at.
    connection.execute("delete from lineage.passed where passed_at < now() - interval 1 day")
