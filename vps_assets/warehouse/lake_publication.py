"""What analysts see of a lake: in its schema `published`, each table as it was when it last passed its checks.

A view of each table names the snapshot it was published at, so that publishing copies nothing, and a table that waits
for a blocking check stays as it was. `lineage.published` has the snapshots.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from vps_assets.warehouse import unchecked
from vps_assets.warehouse.catalogue import quoted, table_exists
from vps_assets.warehouse.erasure import OF_A_SELLER, SAID, Said, delete_said
from vps_assets.warehouse.lake import CATALOGUE, Lake

PUBLISHED = "lineage.published"
ALL = ""
"""The row of `lineage.published` that stands for the publication as a whole."""
SCHEMA = f"create table if not exists {PUBLISHED} (asset text, version bigint, published_at timestamptz)"


@dataclass(frozen=True)
class Views:
    """What is published of a lake: views in its schema `published`."""

    lake: Lake

    def publish(self) -> bool:
        """Let the views name the present snapshot of each table that has passed its checks; whether any was new."""
        self.lake.merge_records()
        return self.lake.transact(point_views, PUBLISHED)

    def newest(self) -> object | None:
        """What tells one publication from another; None before the first."""
        with self.lake.connect(read_only=True) as connection:
            return published_version(connection)

    def is_current(self) -> bool:
        """Whether nothing was written since the last publication."""
        with self.lake.connect(read_only=True) as connection:
            published = published_version(connection)
            return published == snapshot(connection) - 1 or (published is None and not tables_of(connection, "main"))

    @contextlib.contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The views, all as of one publication."""
        with self.lake.connect(read_only=True) as connection:
            connection.execute(f"use {CATALOGUE}.published")
            yield connection

    def erase(self, seller: str, gone: list[str], said: Said | None = None) -> None:
        """Let no view show the seller's rows, and none name an earlier snapshot, so that all of these can be expired.

        A table that waits for a check keeps what was published of it, without the seller's rows, as a copy.
        """
        self.lake.transact(lambda connection: erase(connection, seller, gone, said), PUBLISHED)

    def leave_no_trace(self, seller: str, gone: list[str], said: Said | None = None) -> None:
        """Rewrite the tables' files, so that none has a deleted row, publish them, and forget all snapshots."""
        self.lake.rewrite()
        self.publish()
        self.erase(seller, gone, said)  # of tables that wait for a check by now, too
        self.forget(older_than_days=0)

    def forget(self, older_than_days: float) -> int:
        """Forget older snapshots, but for those published, and delete the files that only they had; how many.

        With 0 days their files are deleted at once: whoever reads one of them at that moment gets an error, and reads
        again. Otherwise after a day.
        """
        with self.lake.connect(read_only=True) as connection:
            old = old_snapshots(connection, older_than_days)
        if old:
            with self.lake.connect(read_only=False) as connection:
                connection.execute(f"call ducklake_expire_snapshots('{CATALOGUE}', versions => {old})")
                which = "older_than => now() - interval 1 day" if older_than_days else "cleanup_all => true"
                connection.execute(f"call ducklake_cleanup_old_files('{CATALOGUE}', {which})")
                # What a killed writer has left; of the last day it may be what a living one is writing.
                orphans = f"ducklake_delete_orphaned_files('{CATALOGUE}', older_than => now() - interval 1 day)"
                connection.execute(f"call {orphans}")
        return len(old)


def point_views(connection: duckdb.DuckDBPyConnection) -> bool:
    newest = snapshot(connection)
    if published_version(connection) == newest - 1:  # the newest snapshot is the publication's own
        return False
    connection.execute(SCHEMA)
    withheld = unchecked.read(connection)
    passed = [name for name in tables_of(connection, "main") if name not in withheld]
    for name in passed:
        show(connection, name, f"main.{quoted(name)} at (version => {newest})")
        connection.execute(f"drop table if exists held.{quoted(name)}")
    note(connection, [ALL, *passed], newest)
    return True


def show(connection: duckdb.DuckDBPyConnection, name: str, source: str) -> None:
    """Let analysts see this relation under this name."""
    connection.execute(f"create or replace view published.{quoted(name)} as from {CATALOGUE}.{source}")


def note(connection: duckdb.DuckDBPyConnection, assets: list[str], version: int | None) -> None:
    """Note at which snapshot these are published; None: as a copy."""
    connection.execute(f"delete from {PUBLISHED} where list_contains(?, asset)", [assets])  # noqa: S608
    connection.execute(f"insert into {PUBLISHED} select unnest(?), ?::bigint, now()", [assets, version])  # noqa: S608


def published_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The snapshot of the last publication; None if nothing was published yet."""
    if not table_exists(connection, PUBLISHED):
        return None
    found = connection.execute(f"select version from {PUBLISHED} where asset = ?", [ALL]).fetchall()  # noqa: S608
    return found[0][0] if found else None


def snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """The snapshot that the transaction sees."""
    return connection.execute(f"select id from ducklake_current_snapshot('{CATALOGUE}')").fetchall()[0][0]  # noqa: S608


def tables_of(connection: duckdb.DuckDBPyConnection, schema: str) -> list[str]:
    query = "select table_name from duckdb_tables() where database_name = ? and schema_name = ? order by all"
    return [name for (name,) in connection.execute(query, [CATALOGUE, schema]).fetchall()]


def erase(connection: duckdb.DuckDBPyConnection, seller: str, gone: list[str], said: Said | None) -> None:
    """Point all views anew, and those of tables that wait for a check at a copy without the seller's rows."""
    point_views(connection)
    for name in sorted(unchecked.read(connection)):
        if not connection.execute(
            "select 1 from duckdb_views() where database_name = ? and schema_name = 'published' and view_name = ?",
            [CATALOGUE, name],
        ).fetchall():
            continue
        connection.execute(f"create temp table kept as from {CATALOGUE}.published.{quoted(name)}")
        if where := OF_A_SELLER.get(name):
            connection.execute(f"delete from kept where {where}", [seller, gone])  # noqa: S608
        if said is not None and name in SAID:
            delete_said(connection, "kept", said)
        connection.execute(f"drop table if exists held.{quoted(name)}")
        connection.execute(f"create table held.{quoted(name)} as from kept")
        connection.execute("drop table kept")
        show(connection, name, f"held.{quoted(name)}")
        note(connection, [name], None)  # no earlier snapshot is needed for it any more


def old_snapshots(connection: duckdb.DuckDBPyConnection, older_than_days: float) -> list[int]:
    """The snapshots from before that are not published, nor the present one."""
    published = f"select version from {PUBLISHED} where version is not null"  # noqa: S608
    query = f"""
        select snapshot_id from ducklake_snapshots('{CATALOGUE}')
        where snapshot_time < now() - to_hours(?::bigint)
            and snapshot_id not in ({published if table_exists(connection, PUBLISHED) else "-1"})
            and snapshot_id <> (select max(snapshot_id) from ducklake_snapshots('{CATALOGUE}'))
    """  # noqa: S608
    return [number for (number,) in connection.execute(query, [round(older_than_days * 24)]).fetchall()]
