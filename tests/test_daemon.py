"""The sensors at work under a real Dagster daemon, whose processes are killed while listings come in."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import psutil
import pytest
from conftest import REPOSITORY
from episodes import State, days_of, nothing_is_left_behind, state_of, succeed, taken_slots

from vps_assets.home import Home
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import UNFINISHED, open_instance, prepare_instance
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import demo

KILLS_A_DAY = 5
LONGEST_S = 600.0
DECISIONS = {"champion_model", "champion_history"}
"""What is decided of a challenger is noted as often as it is evaluated: more often, where runs were killed."""


class Daemon:
    """`dagster-daemon run` with its code server and the runs that it starts."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VPS_")}
        settings = {"VPS_RETRAIN_PRICE_MODELS": "10% 0h", "VPS_RETRAIN_BACKBONES": "50% 0h"}
        paths = {"VPS_HOME": str(self.home.path), "DAGSTER_HOME": str(prepare_instance(self.home))}
        log = (self.home.path.parent / "daemon.log").open("a")
        command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", "workspace.yaml"]
        self.process = subprocess.Popen(
            command, env=clean | settings | paths, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
        )

    def kill_all(self) -> None:
        """The daemon, the code server and the runs, at once: as when the machine goes down."""
        assert self.process is not None
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        psutil.wait_procs(family, timeout=10)
        self.process.wait()

    def kill_a_run(self, within_s: float) -> bool:
        """The process of a run that is under way within this time; whether there was one."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.killed_one():
                return True
            time.sleep(0.5)
        return False

    def killed_one(self) -> bool:
        with open_instance(self.home) as instance:
            for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
                for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
                    pid = getattr(event.dagster_event.event_specific_data, "metadata", {}).get("pid")
                    if pid and psutil.pid_exists(int(pid.value)):
                        psutil.Process(int(pid.value)).kill()
                        return True
        return False


def settled(home: Home) -> bool:
    """Whether everything that was dropped has landed, and all is made that it touches."""
    if [file for file in home.inbox.iterdir() if file.is_file()]:
        return False
    with open_instance(home) as instance:
        waiting = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
        if instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, *waiting])):
            return False
    return not lineage_state(landed_index(home), demo(), Warehouse(home)).stale


def wait_for(what: object, home: Home) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not what(home):  # type: ignore[operator]
        assert time.monotonic() < deadline, (home.path.parent / "daemon.log").read_text()[-3000:]
        time.sleep(2)


def without(state: State, *tables: str) -> State:
    return {key: value for key, value in state.items() if key[0] not in tables}


@pytest.mark.slow
def test_listings_that_come_in_while_daemon_and_runs_are_killed_end_as_if_nothing_had_been(tmp_path: Path) -> None:
    random.seed(1)
    base, *news = days_of(tmp_path, 360, 2)
    images = base.parent
    alone, watched = Home(tmp_path / "alone"), Home(tmp_path / "watched")
    succeed(alone.path, "land", str(base), "--images", str(images))
    succeed(alone.path, "run")
    shutil.copytree(alone.path, watched.path)
    shutil.copytree(images / "images", watched.inbox / "images")
    daemon = Daemon(watched)
    daemon.start()
    kills: Counter[str] = Counter()
    try:
        for day in news:
            shutil.copy(day, watched.inbox / f"{day.name}.part")
            (watched.inbox / f"{day.name}.part").rename(watched.inbox / day.name)
            for _ in range(KILLS_A_DAY):
                time.sleep(random.uniform(5, 25))
                if random.random() < 0.6 and daemon.kill_a_run(within_s=30):
                    kills["a run"] += 1
                else:
                    daemon.kill_all()
                    kills["daemon, server and runs"] += 1
                    daemon.start()
            wait_for(settled, watched)
            succeed(alone.path, "land", str(day), "--images", str(images))
            succeed(alone.path, "run")
            assert without(state_of(watched.warehouse), *DECISIONS) == without(state_of(alone.warehouse), *DECISIONS)
        wait_for(lambda home: not taken_slots(home), watched)
        with open_instance(watched) as instance:
            events = {
                asset: instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None for asset in LINEAGE
            }
        assert all(events.values())
    finally:
        daemon.kill_all()
    nothing_is_left_behind(watched)
    assert {path.name for path in (watched.inbox / "landed").iterdir()} == {day.name for day in news}
    print(f"{kills.total()} kills: {dict(kills)}")
    assert kills.total() == len(news) * KILLS_A_DAY
    assert len(kills) == 2
