"""A marketplace that comes in day by day, and what its tables come to, for tests that interrupt things."""

import os
import subprocess
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
from conftest import LAST_DATE, REPOSITORY, VPS
from polars.testing import assert_frame_equal
from scenario import quiet

from vps_assets.demo.market import make_market
from vps_assets.home import Home
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.sweeping import leftovers
from vps_assets.warehouse.io_manager import partition_column

STAMPS = {"landed_at", "evaluated_at", "decided_at", "suggested_at", "fitted_at", "run_id"}
"""Columns that have when, or in which run: they differ between two runs with the same result."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a partition; equal to others with the same, but for what batches of another size round off."""

    rows: pl.DataFrame

    def __eq__(self, other: object) -> bool:
        try:
            assert_frame_equal(self.rows, other.rows, rel_tol=1e-5, abs_tol=1e-9)  # type: ignore[attr-defined]
        except (AssertionError, AttributeError):
            return False
        return True

    @classmethod
    def of(cls, rows: pl.DataFrame) -> "Rows":
        """In an order that does not depend on figures."""
        names = rows.select(pl.exclude(pl.Float32, pl.Float64)).columns
        order = rows.select(pl.concat_str(pl.col(names).map_elements(str, pl.String), separator=" ")) if names else None
        return cls(rows if order is None else rows.with_columns(_o=order.to_series()).sort("_o").drop("_o"))


State = dict[tuple[str, str], Rows]
"""(table, partition) -> its rows."""


def days_of(folder: Path, listings: int, days: int) -> list[Path]:
    """Listing files: all but the last `days` days of a demo marketplace, then a file a day, late sales with it."""
    market = make_market(folder / "market", listings, 0, quiet, LAST_DATE)
    rows = pl.read_parquet(market / "listings.parquet")
    listed, sold = pl.col("listed_at").dt.date(), pl.col("sold_at").dt.date()
    last: date = rows.select(listed.max()).item()
    files = []
    for number in range(days + 1):
        today = last - timedelta(days=days - number)
        so_far = rows.filter(listed.fill_null(today) <= today).with_columns(
            pl.when(sold <= today).then("sold_at"), pl.when(sold <= today).then("sold_price")
        )
        new = so_far if number == 0 else so_far.filter((listed == today) | (sold == today))
        files.append(market / f"day{number}.parquet")
        new.write_parquet(files[-1])
    return files


def command(home: Path, *arguments: str, **environment: str) -> tuple[list[str], dict]:
    """(a command line, the keywords to start it with) for this data directory."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VPS_") and k != "DAGSTER_HOME"}
    return [*VPS, *arguments], {"env": clean | {"VPS_HOME": str(home)} | environment, "cwd": REPOSITORY}


def succeed(home: Path, *arguments: str, **environment: str) -> str:
    """Run the command to its end; what it printed."""
    line, keywords = command(home, *arguments, **environment)
    ran = subprocess.run(line, **keywords, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def state_of(database: Path) -> State:
    """The rows of each partition of each table; empty if there is no database yet."""
    found: State = {}
    if not database.exists():
        return found
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        for asset in [asset for asset in LINEAGE if asset in tables]:
            rows = pl.DataFrame(connection.execute(f'from "{asset}"').to_arrow_table())
            found |= {(asset, partition): part for partition, part in parts_of(asset, rows).items()}
    return found


def parts_of(asset: str, rows: pl.DataFrame | None) -> dict[str, Rows]:
    """Partition -> its rows, but for when they were made."""
    if rows is None or not rows.height:
        return {}
    column = partition_column(asset)
    key = pl.col(column).cast(pl.String) if column else pl.lit("")
    parts = rows.with_columns(_partition=key).partition_by("_partition", as_dict=True)
    return {name: Rows.of(part.drop("_partition", *STAMPS & set(part.columns))) for (name,), part in parts.items()}


def each_partition_is_whole(seen: State, before: State, after: State) -> None:
    """What a reader saw in between is, partition by partition, as it was before or as it is after."""
    mixed = [key for key, value in seen.items() if value not in (before.get(key), after.get(key))]
    assert not mixed, mixed


def taken_slots(home: Home) -> dict[str, int]:
    """Pool -> slots that somebody holds."""
    with open_instance(home) as instance:
        storage = instance.event_log_storage
        held = {key: len(storage.get_concurrency_info(key).active_run_ids) for key in storage.get_concurrency_keys()}
        return {key: count for key, count in held.items() if count}


STANDING = {".publish.lock", ".landing.lock", ".processes"}
"""Locks, which stay: a lock that is deleted locks nothing."""


def nothing_is_left_behind(home: Home) -> None:
    """No temporary file, no checkpoint, no taken slot, and a published copy that is current."""
    hidden = [path for path in home.path.rglob(".*") if path.name not in STANDING and "dagster" not in path.parts]
    assert leftovers(home) == hidden == []
    assert taken_slots(home) == {}
    assert state_of(home.analytics) == state_of(home.warehouse)


def until(condition: object, process: subprocess.Popen, timeout_s: float = 300.0) -> bool:
    """Wait until `condition()` holds; False if the process ends before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.001)
    raise AssertionError("it took too long")
