"""The lineage end to end: `vps run` over N demo listings of 90 days, and again after one more day.

    python benchmarks/lineage.py [--listings 700] [--full]

All but the demo marketplace's last day lands and is run; then the last day lands (its new
listings, and what was sold on it of older ones) and is run. Seconds by stage are the steps' own, from Dagster's event
log; what is left of the wall-clock time is Dagster's overhead. `new_day_share` is the second run's time, publishing and
what it retrained aside, over the whole first run's, publishing aside; and beside it over the first run's without its
training. Last: how long the definitions take to load, in a fresh interpreter.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl
from measure import report, tell

TRAINING = {
    "train_task_backbones", "train_pricing_models",
}  # fmt: skip


def evening_and_morning(listings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(what is known when the last day begins, what that day brings)."""
    last = listings["listed_at"].dt.date().drop_nulls().max()
    assert isinstance(last, date)
    sold_by = pl.col("sold_at").dt.date()
    shown = listings.filter(pl.col("listed_at").dt.date() <= last)
    older = shown.filter(pl.col("listed_at").dt.date() < last)
    still_open = [pl.when(sold_by < last).then(pl.col(name)).alias(name) for name in ("sold_at", "sold_price")]
    spoilt = pl.col("sold_at") < pl.col("listed_at")
    news = shown.filter((pl.col("listed_at").dt.date() == last) | (sold_by == last)).filter(~spoilt.fill_null(False))
    later = sold_by > last
    hidden = [pl.when(~later.fill_null(False)).then(pl.col(name)).alias(name) for name in ("sold_at", "sold_price")]
    return older.with_columns(still_open), news.with_columns(hidden)


def timed_run(home: Path, recipe: object) -> dict[str, float]:
    """One `vps run`: seconds by step, `publishing`, `overhead` of Dagster and planning, and `total`."""
    import dagster as dg

    from vps_assets.home import Home
    from vps_assets.lineage.planning import Request
    from vps_assets.orchestration import run as orchestration
    from vps_assets.orchestration.instance import open_instance
    from vps_assets.warehouse.copy_publication import Copy

    spent: dict[str, float] = defaultdict(float)
    publish = Copy.publish

    def timed_publish(copy: Copy) -> bool:
        start = time.perf_counter()
        done = publish(copy)
        spent["publishing"] += time.perf_counter() - start
        return done

    Copy.publish = timed_publish
    began = time.time()
    start = time.perf_counter()
    runs = orchestration.run_lineage(Home(home), recipe, Request(), lambda message: None)
    total = time.perf_counter() - start
    Copy.publish = publish
    with open_instance(Home(home)) as instance:
        for run in instance.get_runs():
            for step in instance.get_run_step_stats(run.run_id):
                if step.start_time and step.end_time and step.start_time >= began:
                    spent[step.step_key.split(".")[-1]] += step.end_time - step.start_time
        assert all(run.status == dg.DagsterRunStatus.SUCCESS for run in instance.get_runs())
    spent["overhead"] = total - sum(spent.values())
    return {**spent, "total": total, "runs": runs}


def measured(folder: str, count: int) -> dict[str, dict[str, float]]:
    """Both runs over a marketplace of `count` listings, in a fresh process."""
    os.environ["VPS_HOME"] = f"{folder}/home"
    os.environ["VPS_FIRST_DATE"] = "2024-01-01"
    from vps_assets.demo.market import make_market
    from vps_assets.home import Home
    from vps_assets.landing.land import land
    from vps_ml.recipes import demo

    def quiet(message: str) -> None:
        """No progress."""

    market = make_market(Path(folder) / "market", count, 0, quiet, date(2024, 7, 29))
    listings = pl.read_parquet(market / "listings.parquet")
    home = Home(Path(folder) / "home")
    found = {}
    for name, rows in zip(("first", "new day"), evening_and_morning(listings), strict=True):
        path = market / f"{name}.parquet"
        rows.write_parquet(path)
        land([path], None, home, quiet)
        found[name] = timed_run(home.path, demo()) | {"rows": rows.height}
    return found


def loading_seconds() -> float:
    with tempfile.TemporaryDirectory() as home:
        code = "import vps_assets.definitions as d, sys; d.defs(); assert 'torch' not in sys.modules"
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"VPS_HOME": home})
        return time.perf_counter() - start


def shown(count: int, found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Print both runs by stage; the shares."""
    first, new = found["first"], found["new day"]
    tell(f"{count:,} listings over 90 days: {first['rows']:,.0f}, then {new['rows']:,.0f} of the new day")
    for step in sorted(first.keys() | new.keys() - {"total", "runs", "rows"}, key=lambda s: -first.get(s, 0)):
        if step not in ("total", "runs", "rows"):
            tell(f"  {step:34} {first.get(step, 0):8.2f} s  {new.get(step, 0):8.2f} s")
    tell(
        f"  {'total':34} {first['total']:8.2f} s  {new['total']:8.2f} s  ({first['runs']}, {new['runs']} Dagster runs)"
    )
    trained = {name: sum(run.get(step, 0) for step in TRAINING) for name, run in found.items()}
    unpublished = {name: run["total"] - run["publishing"] for name, run in found.items()}
    new_day = unpublished["new day"] - trained["new day"]
    return {
        "first_s": first["total"],
        "new_day_s": new["total"],
        "new_day_share": new_day / unpublished["first"],
        "new_day_share_of_first_without_training": new_day / (unpublished["first"] - trained["first"]),
        "trained_s": trained["first"],
        "retrained_s": trained["new day"],
        "overhead_share_first": first["overhead"] / first["total"],
        "overhead_share_new_day": new["overhead"] / new["total"],
        "runs_first": first["runs"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listings", type=int, nargs="+", default=[700])
    parser.add_argument("--full", action="store_true", help="3,000, 10,000 and 30,000 listings: more than an hour")
    arguments = parser.parse_args()
    results = {}
    for count in [3_000, 10_000, 30_000] if arguments.full else arguments.listings:
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, context) as pool:
            results[count] = shown(count, pool.submit(measured, folder, count).result())
    loading = min(loading_seconds() for _ in range(3))
    tell(f"definitions load in {loading:.2f} s")
    report(by_listings=results, new_day_share=results[max(results)]["new_day_share"], loading_s=loading)


if __name__ == "__main__":
    main()
