"""The working tables: SQL that is the same whether they are a file or a lake."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, Records
from vps_assets.warehouse import unchecked
from vps_assets.warehouse.catalogue import columns_of, quoted, table_exists
from vps_assets.warehouse.file import File, WarehouseBusy
from vps_assets.warehouse.lake import Lake
from vps_assets.warehouse.named_files import NamedFiles, named_files
from vps_assets.warehouse.records import read_made_at, read_records, record
from vps_assets.warehouse.unchecked import Checks, Passed

Result = TypeVar("Result")
NO_CHECKS = Checks()
MOST_SUPERSEDED = 20_000
"""Records that a newer one has taken the place of; each reading of the records reads them, too."""


@dataclass(frozen=True)
class Known:
    """What the warehouse knows of its tables."""

    records: Records = field(default_factory=Records)
    made_at: Mapping[str, float] = field(default_factory=dict)
    """Asset -> when its newest partition was made, in seconds since 1970."""
    unchecked: Mapping[str, set[str]] = field(default_factory=dict)
    """Asset -> partitions that wait for a blocking check, or failed it."""
    files: NamedFiles = field(default_factory=dict)
    """(asset, partition) -> models and embeddings that its rows name."""


class Warehouse:
    """The working tables: a file under the data directory, or a lake that several hosts write (`VPS_WAREHOUSE`)."""

    def __init__(self, home: Home, lock_timeout_s: float = 120.0) -> None:
        self.home = home
        self.engine: File | Lake = Lake(home, lock_timeout_s) if home.lake else File(home, lock_timeout_s)

    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self.engine.exists()

    def connect(self, *, read_only: bool) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection; what it reads is of one moment if it is read-only."""
        return self.engine.connect(read_only=read_only)

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], Result], table: str = "") -> Result:
        """What `work` returns, having written in one transaction; it may be done again if others were first.

        `table` is the one whose rows are replaced; see `Lake.transact`.
        """
        return self.engine.transact(work, table)

    def refuse_if_lost(self) -> None:
        """See `File.refuse_if_lost`."""
        self.engine.refuse_if_lost()

    def read(
        self, table: str, where: str = "true", parameters: Sequence = (), columns: Sequence[str] = ()
    ) -> pl.DataFrame | None:
        """Rows of a table, with all columns unless some are named; None if there is no such table yet.

        Named columns that it lacks, as one that older code wrote may, are left out. `where` is SQL with `?` for values.
        """
        if not self.exists():
            return None
        with self.connect(read_only=True) as connection:
            return read_table(connection, table, where, parameters, columns)

    def replace(
        self,
        table: str,
        rows: pl.DataFrame,
        where: str,
        parameters: Sequence,
        made: Mapping[str, Fingerprint | None],
        checks: Checks = NO_CHECKS,
    ) -> None:
        """In one transaction: delete the rows that `where` selects, insert `rows` by column name, record `made`.

        `made` maps partitions to fingerprints; None removes the partition's. `checks` are the blocking checks that
        these partitions have to pass before the table is published.
        """

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            connection.register("incoming", rows.to_arrow())
            connection.execute(f"create table if not exists {quoted(table)} as from incoming limit 0")
            take_columns_of_incoming(connection, table)
            connection.execute(f"delete from {quoted(table)} where {where}", list(parameters))  # noqa: S608
            connection.execute(f"insert into {quoted(table)} by name from incoming")  # noqa: S608
            record(connection, table, made)
            unchecked.add(connection, table, list(made), checks)

        self.transact(write, table)

    def unchecked(self, run_id: str | None = None) -> Mapping[str, set[str]]:
        """Asset -> partitions that wait for a blocking check, or failed it; of those that a run wrote, or all."""
        if not self.exists():
            return {}
        with self.connect(read_only=True) as connection:
            return unchecked.read(connection, run_id)

    def note_passed(self, passed: Sequence[Passed]) -> None:
        """These checks have passed."""
        if not passed:
            return

        self.transact(lambda connection: unchecked.note(connection, passed))

    def forget_superseded(self, most: int = MOST_SUPERSEDED) -> None:
        """Forget the records that have a newer one, once there are more than `most`."""
        if not self.exists():
            return
        with self.connect(read_only=True) as connection:
            count = unchecked.superseded(connection)
        if count > most:
            with contextlib.suppress(WarehouseBusy):  # another time
                self.transact(unchecked.compact)

    def good_sales(self) -> int:
        """How many good sold listings are in `raw_listings`."""
        if not self.exists():
            return 0
        with self.connect(read_only=True) as connection:
            if not table_exists(connection, "raw_listings"):
                return 0
            query = "select count(*) from raw_listings where sold_price is not null and len(landing_reasons) = 0"
            return connection.execute(query).fetchall()[0][0]

    def records(self) -> Records:
        """The fingerprints of all tables, and the statistics' digests."""
        if not self.exists():
            return Records()
        with self.connect(read_only=True) as connection:
            return read_records(connection)

    def known(self) -> "Known":
        """Everything that planning needs, as of the same moment."""
        if not self.exists():
            return Known()
        with self.connect(read_only=True) as connection:
            return Known(
                read_records(connection), read_made_at(connection), unchecked.read(connection), named_files(connection)
            )

    def made_at(self) -> dict[str, float]:
        """Asset -> when its newest partition was made, in seconds since 1970."""
        if not self.exists():
            return {}
        with self.connect(read_only=True) as connection:
            return read_made_at(connection)

    def read_with_records(
        self, table: str, where: str = "true", parameters: Sequence = (), columns: Sequence[str] = ()
    ) -> tuple[pl.DataFrame | None, Records]:
        """Rows of a table, see `read`, and its records, as of the same moment."""
        if not self.exists():
            return None, Records({table: {}})
        with self.connect(read_only=True) as connection:
            rows = read_table(connection, table, where, parameters, columns)
            return rows, Records({table: {}}).updated(read_records(connection, [table]))


def read_table(
    connection: duckdb.DuckDBPyConnection, table: str, where: str, parameters: Sequence, columns: Sequence[str] = ()
) -> pl.DataFrame | None:
    if not (there := columns_of(connection, table)):
        return None
    names = ", ".join(quoted(name) for name in columns if name in there) or "*"
    query = f"select {names} from {quoted(table)} where {where}"  # noqa: S608
    return pl.DataFrame(connection.execute(query, list(parameters)).to_arrow_table())


def take_columns_of_incoming(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Give a table that older code wrote the columns of the relation `incoming`, within the caller's transaction.

    Rows that are not replaced have nulls in new columns; a new code version makes them out of date anyway.
    """
    have, want = (
        {row[0]: row[1] for row in connection.execute(f"describe {name}").fetchall()}
        for name in (quoted(table), "incoming")
    )
    for name in [name for name in want if name not in have]:  # in the schema's order
        connection.execute(f"alter table {quoted(table)} add column {quoted(name)} {want[name]}")
    for name in [name for name in have if name not in want]:
        connection.execute(f"alter table {quoted(table)} drop column {quoted(name)}")
