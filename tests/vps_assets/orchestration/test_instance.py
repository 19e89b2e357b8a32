"""Which runs are dead, on a real Dagster instance."""

import sqlite3
import subprocess
import sys
import time

import dagster as dg
import pytest

from vps_assets.home import Home
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import free_dead_runs, open_instance
from vps_assets.warehouse.io_manager import PROCESS_TAG
from vps_assets.warehouse.settings import Settings
from vps_ml.processes import here_and_now, host

NO_FILES = {"ops": {"take_in_files": {"config": {"files": []}}}}


def test_a_run_that_waited_long_in_the_queue_and_is_just_being_launched_is_not_dead(home: Home) -> None:
    with open_instance(home) as instance:
        run = instance.create_run_for_job(sensors.inbox_job, run_config=NO_FILES, status=dg.DagsterRunStatus.STARTING)
    with sqlite3.connect(home.dagster / "history" / "runs.db") as runs:
        assert runs.execute("update runs set create_timestamp = '2020-01-01 00:00:00.000000'").rowcount == 1
    with open_instance(home) as instance:
        assert free_dead_runs(instance) == []
    with sqlite3.connect(home.dagster / "history" / "runs.db") as runs:
        runs.execute("update runs set update_timestamp = '2020-01-01 00:00:00.000000'")
    with open_instance(home) as instance:
        assert free_dead_runs(instance) == [run.run_id]


def test_a_run_that_was_created_and_never_started_is_dead_after_a_while(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(home) as instance:
        run = instance.create_run_for_job(
            sensors.inbox_job, run_config=NO_FILES, status=dg.DagsterRunStatus.NOT_STARTED
        )
        assert free_dead_runs(instance) == []
        monkeypatch.setattr(
            "vps_assets.orchestration.instance.STARTS_WITHIN_S", {dg.DagsterRunStatus.NOT_STARTED: -1.0}
        )
        assert free_dead_runs(instance) == [run.run_id]


def ended_process() -> str:
    """A process of this host that has ended, as `here_and_now` names it."""
    child = subprocess.run(
        [sys.executable, "-c", "from vps_ml.processes import *; print(here_and_now())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return child.stdout.strip()


def of_another_host(process: str) -> str:
    return process.replace(host(), host()[:16] + "0" * 8)


@pytest.mark.parametrize(
    ("elsewhere", "silent_for_days", "dead"), [(False, 0, True), (True, 0, False), (True, 1.1, True)]
)
def test_a_run_of_another_host_is_dead_only_after_a_day_of_silence(
    home: Home, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, silent_for_days: float, dead: bool
) -> None:
    """Its process number says nothing here: every container counts from one."""
    process = of_another_host(ended_process()) if elsewhere else ended_process()
    with open_instance(home) as instance:
        tags = {PROCESS_TAG: process}
        run = instance.create_run_for_job(
            sensors.inbox_job, run_config=NO_FILES, status=dg.DagsterRunStatus.STARTED, tags=tags
        )
        instance.report_engine_event("at work", run)
        now = time.time() + silent_for_days * 86400
        monkeypatch.setattr("vps_assets.orchestration.instance.time.time", lambda: now)
        assert free_dead_runs(instance) == ([run.run_id] if dead else [])


def test_a_run_names_the_process_that_executes_it(home: Home) -> None:
    with open_instance(home) as instance:
        settings = Settings(data_directory=str(home.path), recipe_name="demo")
        config = dg.RunConfig(ops={"take_in_files": sensors.Files(files=[])})
        ran = sensors.inbox_job.execute_in_process(config, instance=instance, resources={"settings": settings})
        assert instance.get_run_by_id(ran.run_id).tags[PROCESS_TAG] == here_and_now()
