"""A year of days: what grows, and whether a tick stays cheap, when listings come in every day.

    python benchmarks/year.py [--days 6] [--full]

The sensors' own code is evaluated until nothing is left to do, and each run that they request is executed, as the
daemon would; time is injected in one place, retention, whose 30 days are as many simulated days. The demo's market is
drawn out over the days: a file a day, with what was listed and what was sold. A year takes an hour or two.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import numpy as np
import polars as pl
from measure import memory_mib, report, tell

from vps_assets import definitions
from vps_assets.demo.market import make_market
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.orchestration import retention
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.run import execute_job
from vps_assets.orchestration.sensors import INBOX, RETRAINING, SOLD_LISTINGS

FIRST, A_DAY = 300, 8
"""Listings of the days before, which come together, and of each day."""
BEFORE = 30
"""Days over which the first are spread."""
KEPT_DAYS = 30
MOST_TICKS = 60
PARTS = {
    "landing": "landing",
    "inbox": "inbox",
    "photos": "photos",
    "models": "models",
    "embeddings": "embeddings",
    "warehouse": "warehouse.duckdb",
    "analysts' copy": "analytics.duckdb",
    "runs' records": "dagster/history/runs",
    "runs' logs": "dagster/storage",
    "run index": "dagster/history/runs.db",
    "ticks": "dagster/schedules",
    "op outputs": "dagster/op_outputs",
}


def drop_files(folder: Path, days: int) -> Iterator[pl.DataFrame]:
    """The rows of each day: the market's listings in order, as many a day, those sold on the day once more."""
    market = pl.read_parquet(make_market(folder, FIRST + A_DAY * days, 0, lambda line: None) / "listings.parquet")
    number = pl.int_range(pl.len())
    day = pl.when(number < FIRST).then(number * BEFORE // FIRST - BEFORE + 1).otherwise((number - FIRST) // A_DAY + 1)
    today = datetime.now().astimezone()
    moved = market.drop_nulls("listed_at").sort("listed_at").with_columns(day=day)
    shift = (pl.lit(today - timedelta(days=days + 1)) + pl.duration(days=pl.col("day"))).dt.date()
    moved = moved.with_columns(by=shift - pl.col("listed_at").dt.date())
    moved = moved.with_columns(pl.col("listed_at", "sold_at") + pl.col("by"))
    for number_of_day in range(days + 1):
        until = (today - timedelta(days=days + 1 - number_of_day)).date()
        sold = pl.col("sold_at").dt.date() <= until
        known = moved.with_columns(pl.when(sold).then("sold_at"), pl.when(sold).then("sold_price"))
        new = (
            (pl.col("day") == number_of_day)
            | pl.lit(number_of_day == 0)
            | ((pl.col("day") < number_of_day) & (pl.col("sold_at").dt.date() == until))
        )
        yield known.filter(pl.col("day") <= number_of_day, new.fill_null(value=False)).drop("day", "by")


class Daemon:
    """The sensors' evaluation, one after the other, until none has anything to do."""

    def __init__(self, home: Home, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.cursors: dict[str, str | None] = {}
        self.runs = 0
        self.repository = definitions.defs().get_repository_def()
        self.settings = definitions.settings_from_environment()

    def settle(self) -> None:
        """Evaluate and execute until nothing is requested twice in a row."""
        quiet = 0
        for _ in range(MOST_TICKS):
            requests = [request for name in (INBOX, SOLD_LISTINGS, RETRAINING) for request in self.tick(name)]
            quiet = 0 if requests else quiet + 1
            if quiet == 2:
                return
        raise AssertionError(f"not settled after {MOST_TICKS} ticks")

    def tick(self, name: str) -> list[dg.RunRequest]:
        sensor = self.repository.get_sensor_def(name)
        with dg.build_sensor_context(
            self.instance,
            cursor=self.cursors.get(name),
            sensor_name=name,
            repository_def=self.repository,
            resources={"settings": self.settings},
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursors[name] = data.cursor
        for request in data.run_requests or ():
            job = request.job_name or "inbox_job"
            assets = list(request.asset_selection) if request.asset_selection else None
            execute_job(self.home, self.instance, job, request.run_config.get("ops", {}), dict(request.tags), assets)
            self.runs += 1
        return list(data.run_requests or ())

    def idle_tick_ms(self) -> float:
        """Median of what a tick of the sensor that does most takes when there is nothing to do."""
        spent = []
        for _ in range(5):
            start = time.perf_counter()
            assert not self.tick(SOLD_LISTINGS)
            spent.append(1000 * (time.perf_counter() - start))
        return float(np.median(spent))


def size_mib(path: Path) -> float:
    if path.is_file():
        return path.stat().st_size / 2**20
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--full", action="store_true", help="365 days")
    arguments = parser.parse_args()
    days = 365 if arguments.full else arguments.days
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name), Home(Path(name) / "home")
        settings = {
            "VPS_HOME": str(home.path),
            "VPS_RETRAIN_PRICE_MODELS": "30% 0h",
            "VPS_RETRAIN_BACKBONES": "100% 0h",
        }
        with patch.dict(os.environ, settings), open_instance(home) as instance:
            figures = simulated(folder, home, instance, days)
    report(days=days, **figures)


def simulated(folder: Path, home: Home, instance: dg.DagsterInstance, days: int) -> dict[str, object]:
    """Let the days come in; the figures of the last."""
    daemon, began, idle = Daemon(home, instance), [], []
    shutil.copytree(make_market(folder / "market", FIRST + A_DAY * days, 0, tell) / "images", home.inbox / "images")
    for day, rows in enumerate(drop_files(folder / "market", days)):
        began.append(time.time())
        rows.write_parquet(home.inbox / f"day{day:03}.parquet")
        daemon.settle()
        if day >= KEPT_DAYS:
            kept_days = (time.time() - began[day - KEPT_DAYS]) / 86400
            with patch.object(retention, "UNFINISHED_DAYS", kept_days / 10):
                retention.forget_unused_artefacts(home, kept_days)
            retention.forget_old_runs(instance, kept_days)
        if day % KEPT_DAYS == 0 or day == days:
            idle.append(daemon.idle_tick_ms())
            parts = {part: round(size_mib(home.path / path), 2) for part, path in PARTS.items()}
            memory = memory_mib("RssAnon")
            tell(f"  day {day:3}: tick {idle[-1]:4.0f} ms, {memory:,.0f} MiB, {daemon.runs:,} runs, {parts}")
    assert land([], None, home, tell) == []
    return {"mib": parts, "idle_tick_ms": idle[-1], "tick_growth": idle[-1] / idle[0], "runs": daemon.runs}


if __name__ == "__main__":
    main()
