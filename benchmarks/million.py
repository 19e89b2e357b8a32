"""The whole lineage at 10⁴, 10⁵ and 10⁶ listings: CPU, memory and disk by step, and how each grows.

    python benchmarks/million.py [--listings 1000] [--full] [--most-sold N] [--folder DIR]

A drawn year of 500 categories, a seller for each 20 listings, and two days after it: the next day, on which all open
listings are priced again because ranges begin to follow the sales, and a new day like those that come. Photos' files
are real and land as any do; the networks stay as they start, and features are drawn (`drawn.py`): photos a second are
`embedding.py`'s subject. All else is what users run: landing, `vps run`, the published copy, README's queries, the
report, a tick of every sensor, the UI's pages, a suggestion, and the days after. CPU is of this process and those that
it has started; memory is what is held beside mapped files, sampled. Training takes hours on 200,000 sold listings, as
the recipe is bound: `--most-sold` lowers that, and all else stays at its size. Exponents: least squares of ln CPU on ln
listings.
"""

import argparse
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from drawn import DAYS, disk_mib, drawn_market, drawn_photos
from lineage import evening_and_morning
from measure import memory_mib, report, tell

from vps_ml import recipes

EVERY_S = 0.05
PARTS = {
    "landing": "landing",
    "photos": "photos",
    "embeddings": "embeddings",
    "models": "models",
    "warehouse": "warehouse.duckdb",
    "analysts' copy": "analytics.duckdb",
    "Dagster's records": "dagster",
}
PAGES = {
    "graph": "{ assetNodes { assetKey { path } staleStatus partitionStats { numMaterialized numPartitions } } }",
    "runs": "{ runsOrError(limit: 25) { ... on Runs { results { runId status startTime } } } }",
    "a daily asset": """{ assetOrError(assetKey: {path: ["price_suggestions"]}) { ... on Asset {
        assetMaterializations(limit: 100) { partition timestamp metadataEntries { label } } } } }""",
}
"""What the UI asks for on three of its pages."""


def cpu_s() -> float:
    """CPU of this process and of the children that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Meter(threading.Thread):
    """Samples of (time, CPU, memory) from which a window's figures are read."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.times: list[float] = []
        self.cpu: list[float] = []
        self.mib: list[float] = []
        self.start()

    def run(self) -> None:
        while True:
            self.sample()
            time.sleep(EVERY_S)

    def sample(self) -> None:
        self.times.append(time.time())
        self.cpu.append(cpu_s())
        self.mib.append(memory_mib("RssAnon"))

    def between(self, start: float, end: float) -> dict[str, float]:
        first, last = (min(bisect_left(self.times, moment), len(self.times) - 1) for moment in (start, end))
        return {
            "wall_s": end - start,
            "cpu_s": self.cpu[last] - self.cpu[first],
            "peak_mib": max(self.mib[first : last + 1]),
        }


Figures = dict[str, dict[str, float]]


def tell_figures(name: str, figures: dict[str, float]) -> None:
    told = f"{figures['cpu_s']:9.1f} s CPU {figures['wall_s']:9.1f} s {figures['peak_mib']:8,.0f} MiB"
    tell(f"  {name:66} {told}")


@contextmanager
def metered(meter: Meter, figures: Figures, name: str) -> Iterator[None]:
    """Measure what is done meanwhile."""
    meter.sample()
    start = time.time()
    try:
        yield
    finally:
        meter.sample()
        figures[name] = meter.between(start, time.time())
        tell_figures(name, figures[name])


@contextmanager
def each_step(meter: Meter, figures: Figures, prefix: str) -> Iterator[None]:
    """Measure every step that Dagster executes meanwhile, and every publication."""
    from dagster._core.execution.plan import execute_plan

    from vps_assets.warehouse.copy_publication import Copy

    execute, publish = execute_plan.dagster_event_sequence_for_step, Copy.publish
    spent: dict[str, list[dict[str, float]]] = defaultdict(list)

    def step(context):  # type: ignore[no-untyped-def]
        start = time.time()
        yield from execute(context)
        meter.sample()
        spent[context.step.key].append(meter.between(start, time.time()))
        tell_figures(f"  {context.step.key}", spent[context.step.key][-1])

    def publishing(copy):  # type: ignore[no-untyped-def]
        start = time.time()
        done = publish(copy)
        meter.sample()
        spent["publishing"].append(meter.between(start, time.time()))
        return done

    execute_plan.dagster_event_sequence_for_step = step
    Copy.publish = publishing
    try:
        yield
    finally:
        execute_plan.dagster_event_sequence_for_step = execute
        Copy.publish = publish
        for key, found in spent.items():
            sums = {name: sum(one[name] for one in found) for name in ("wall_s", "cpu_s")}
            figures[f"{prefix}{key}"] = sums | {"peak_mib": max(one["peak_mib"] for one in found)}


def let_models_see(most_sold: int) -> None:
    """Let the recipe's price models see no more sold listings than these."""
    base = recipes.demo()
    recipes.RECIPES["demo"] = lambda: replace(base, pricing=replace(base.pricing, most_sold=most_sold))


def measured(folder: str, count: int, most_sold: int) -> tuple[Figures, dict[str, float]]:
    """Everything at one size, in a fresh process: (figures by step, MiB by part of the disk)."""
    home_path = f"{folder}/home"
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    first = yesterday - timedelta(days=DAYS - 1)
    os.environ |= {"VPS_HOME": home_path, "VPS_FIRST_DATE": str(first), "VPS_RECIPE": "demo"}
    from vps_assets import definitions
    from vps_assets.home import Home
    from vps_assets.landing.land import land
    from vps_assets.lineage.planning import Request
    from vps_assets.orchestration.run import run_lineage

    let_models_see(most_sold)
    recipe = recipes.recipe_named("demo")
    figures: Figures = {}
    meter, home = Meter(), Home(Path(home_path))
    market = Path(folder) / "market"
    market.mkdir()
    with metered(meter, figures, "(drawing the market)"):
        listings = drawn_market(market, count, yesterday)
    before, new_day = evening_and_morning(listings)
    before, next_day = evening_and_morning(before)
    del listings
    definitions.defs()
    for name, rows in (("first", before), ("next day", next_day), ("new day", new_day)):
        path = market / f"{name}.parquet"
        rows.write_parquet(path)
        tell(f"{name}: {rows.height:,} rows")
        with metered(meter, figures, f"{name}: landing"):
            land([path], None, home, lambda line: None)
        with drawn_photos(), each_step(meter, figures, f"{name}: "), metered(meter, figures, f"{name}: vps run"):
            run_lineage(home, recipe, Request(), lambda line: None)
    with metered(meter, figures, "vps run, nothing to do"):
        run_lineage(home, recipe, Request(), lambda line: None)
    looked_at(home, meter, figures, before)
    return figures, {part: disk_mib(home.path / path) for part, path in PARTS.items() if (home.path / path).exists()}


def looked_at(home: object, meter: Meter, figures: Figures, listings: pl.DataFrame) -> None:
    """What people and sensors do when nothing is made."""
    from year import Daemon

    from vps_assets.home import Home
    from vps_assets.orchestration.instance import open_instance
    from vps_assets.orchestration.sensors import INBOX, RETRAINING, SOLD_LISTINGS
    from vps_assets.orchestration.standing import NAME
    from vps_assets.report.page import write_report

    assert isinstance(home, Home)
    with open_instance(home) as instance:
        daemon = Daemon(home, instance)
        for sensor in (INBOX, SOLD_LISTINGS, RETRAINING, NAME):
            daemon.tick(sensor)
            with metered(meter, figures, f"a tick of {sensor}"):
                daemon.tick(sensor)
        pages(instance, meter, figures)
    with metered(meter, figures, "the report"):
        write_report(home)
    queries(home, meter, figures)
    photo = Path(os.environ["VPS_HOME"]).parent / "market" / listings["image_path"][0]
    command = [f"{Path(sys.executable).parent}/vps", "suggest", str(photo), "--category", listings["category"][0]]
    with metered(meter, figures, "vps suggest"):
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
    assert answer.stdout.startswith("{"), answer.stderr[-2000:]


def pages(instance: object, meter: Meter, figures: Figures) -> None:
    """What the UI asks its server for, without the network."""
    import dagster as dg
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.testclient import TestClient

    assert isinstance(instance, dg.DagsterInstance)
    target = ModuleTarget("vps_assets.definitions", "defs", str(Path.cwd()), "vps")
    with WorkspaceProcessContext(instance, target) as workspace:
        client = TestClient(DagsterWebserver(workspace).create_asgi_app())
        for name, query in PAGES.items():
            for _ in range(2):  # the first asks the code server for what it then keeps
                with metered(meter, figures, f"UI: {name}"):
                    answer = client.post("/graphql", json={"query": query}).json()
                assert "errors" not in answer, answer


def queries(home: object, meter: Meter, figures: Figures) -> None:
    """README's queries on the analysts' copy, each in a connection of its own; the slowest is told."""
    import duckdb

    from vps_assets.home import Home

    assert isinstance(home, Home)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    found: Figures = {}
    for statement in [one.strip() for block in blocks for one in block.split(";") if one.strip()]:
        comment = statement.splitlines()[0].removeprefix("-- ")
        with (
            duckdb.connect(str(home.path / "analytics.duckdb"), read_only=True) as connection,
            metered(meter, found, f"query: {comment[:50]}"),
        ):
            connection.execute(statement).fetchall()
    slowest = max(found, key=lambda name: found[name]["wall_s"])
    figures["slowest of README's queries"] = found[slowest]


def exponents(by_listings: dict[int, Figures]) -> dict[str, float]:
    """Step -> the power of listings with which its CPU grows."""
    sizes = sorted(by_listings)
    found = {}
    for step in by_listings[sizes[-1]]:
        cpu = [by_listings[size].get(step, {}).get("cpu_s", 0.0) for size in sizes]
        if len(sizes) > 1 and min(cpu) > 0:
            found[step] = float(np.polyfit(np.log(sizes), np.log(cpu), 1)[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listings", type=int, nargs="+", default=[1_000])
    parser.add_argument("--full", action="store_true", help="10,000, 100,000 and 1,000,000 listings: hours")
    parser.add_argument("--most-sold", type=int, default=recipes.demo().pricing.most_sold)
    parser.add_argument("--folder", type=Path, help="where the data are made and left; a temporary folder by default")
    arguments = parser.parse_args()
    results: dict[int, Figures] = {}
    disk: dict[int, dict[str, float]] = {}
    for count in [10_000, 100_000, 1_000_000] if arguments.full else arguments.listings:
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as temporary, ProcessPoolExecutor(1, context) as pool:
            folder = temporary if arguments.folder is None else str(arguments.folder / str(count))
            Path(folder).mkdir(parents=True, exist_ok=True)
            results[count], disk[count] = pool.submit(measured, folder, count, arguments.most_sold).result()
        share = results[count]["new day: vps run"]["cpu_s"] / results[count]["first: vps run"]["cpu_s"]
        tell(f"{count:,} listings: the new day took {share:.1%} of the first run's CPU; {disk[count]} MiB")
    report(by_listings=results, disk_mib=disk, exponents=exponents(results))


if __name__ == "__main__":
    main()
