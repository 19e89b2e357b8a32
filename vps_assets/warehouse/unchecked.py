"""Which partitions of which tables wait for their blocking checks: `lineage.unchecked`.

A write adds its partitions, in its own transaction, once for each blocking check of the table; the end of a run takes
away those that it wrote and whose check passed. What is left is out of date, and its table is not published
(`publication`). So a check that failed, and one that a kill prevented, count alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from vps_assets.lineage.graph import OF_ALL_DATES

SCHEMA = """
create schema if not exists lineage;
create table if not exists lineage.unchecked (
    asset text, partition text, check_name text, run_id text, written_at timestamptz
);
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


def add(connection: duckdb.DuckDBPyConnection, asset: str, partitions: Sequence[str], checks: Checks) -> None:
    """These partitions have been written, within the caller's transaction."""
    connection.execute(SCHEMA)
    gone = "delete from lineage.unchecked where asset = ? and list_contains(?, partition)"
    connection.execute(gone, [asset, list(partitions)])
    new = """
        insert into lineage.unchecked
        select ?, unnest(?), check_name, ?, now() from (select unnest(?) as check_name)
    """
    connection.execute(new, [asset, list(partitions), checks.run_id, list(checks.names)])


def take_away(connection: duckdb.DuckDBPyConnection, passed: Passed) -> None:
    """A check has passed: of what its run wrote or, if it looks at all dates, of what was written before it."""
    query = """
        delete from lineage.unchecked
        where asset = ? and check_name = ? and (run_id = ? or (? and written_at < to_timestamp(?)))
    """
    of_all = passed.name in OF_ALL_DATES
    connection.execute(query, [passed.asset, passed.name, passed.run_id, of_all, passed.began_at])


def read(connection: duckdb.DuckDBPyConnection) -> Mapping[str, set[str]]:
    """Asset -> partitions that wait for a check."""
    query = "select count(*) from duckdb_tables() where schema_name = 'lineage' and table_name = 'unchecked'"
    if not connection.execute(query).fetchall()[0][0]:
        return {}
    found: dict[str, set[str]] = {}
    rows = connection.execute("select distinct asset, partition from lineage.unchecked order by all").fetchall()
    for asset, partition in rows:
        found.setdefault(asset, set()).add(partition)
    return found
