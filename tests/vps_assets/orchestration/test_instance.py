"""Which runs are dead, on a real Dagster instance."""

import sqlite3

import dagster as dg
import pytest

from vps_assets.home import Home
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import free_dead_runs, open_instance

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
