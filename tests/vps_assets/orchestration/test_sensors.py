"""The sensors' wrappers against a real instance and warehouse."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from scenario import listing, listings_file

from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.lineage_decisions import FITTED, FOLLOWING
from vps_assets.warehouse.io_manager import PROCESS_TAG
from vps_assets.warehouse.settings import Settings
from vps_ml.processes import here_and_now

RUNNING = dg.DefaultSensorStatus.RUNNING
INBOX, SOLD_LISTINGS, RETRAINING, *_ = sensors.all_sensors(RUNNING)


def tick(home: Home, sensor: dg.SensorDefinition, cursor: str | None = None) -> SensorExecutionData:
    settings = Settings(data_directory=str(home.path), recipe_name="demo")
    with (
        open_instance(home) as instance,
        dg.build_sensor_context(instance, cursor, sensor_name=sensor.name, resources={"settings": settings}) as context,
    ):
        return sensor.evaluate_tick(context)


def test_a_dropped_file_is_requested_at_the_second_tick_with_its_name(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    first = tick(home, INBOX)
    assert not first.run_requests
    (request,) = tick(home, INBOX, first.cursor).run_requests
    assert request.run_config["ops"]["take_in_files"]["config"] == {"files": ["day.parquet"], "given_up": []}


def test_the_inbox_job_lands_the_file_and_fails_if_one_was_refused_naming_it(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    (home.inbox / "bad.csv").write_text("price\n1\n")
    config = dg.RunConfig(ops={"take_in_files": sensors.Files(files=["bad.csv", "day.parquet"])})
    resources = {"settings": Settings(data_directory=str(home.path), recipe_name="demo")}
    ran = sensors.inbox_job.execute_in_process(config, resources=resources, raise_on_error=False)
    assert not ran.success
    assert "bad.csv" in ran.get_step_failure_events()[0].step_failure_data.error.message
    assert (home.inbox / "landed" / "day.parquet").exists()


@pytest.mark.parametrize("name", ["../secret.csv", "/etc/hostname", "landed", "landed/day.csv", ".", ".hidden.csv", ""])
def test_the_inbox_job_touches_nothing_but_files_of_the_inbox(home: Home, name: str) -> None:
    """Whoever can reach the UI can start the job with any name."""
    for path in (home.path / "secret.csv", home.inbox / "landed" / "day.csv", home.inbox / ".hidden.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("price\n1\n")
    before = sorted(path for path in home.path.rglob("*"))
    config = dg.RunConfig(ops={"take_in_files": sensors.Files(files=[name])})
    resources = {"settings": Settings(data_directory=str(home.path), recipe_name="demo")}
    ran = sensors.inbox_job.execute_in_process(config, resources=resources, raise_on_error=False)
    assert sorted(path for path in home.path.rglob("*")) == before
    assert ran.success == (Path(name).name == name)  # such a file is gone, or never was there


def test_what_has_landed_is_requested_by_its_dates(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1), listing(2), listing(5)])], None, home, print)
    requests = tick(home, SOLD_LISTINGS).run_requests
    assert [request.job_name for request in requests] == ["listings_job"] * 2
    assert [request.tags["dagster/asset_partition_range_start"] for request in requests] == ["2024-01-02", "2024-01-06"]
    assert not tick(home, RETRAINING).run_requests


def test_an_unfinished_run_of_the_lineage_holds_the_sensors_back_and_one_of_a_dead_process_does_not(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1)])], None, home, print)
    job = dg.define_asset_job("listings_job", dg.AssetSelection.assets("raw_listings"))
    resolved = dg.Definitions([dg.asset(lambda: None, name="raw_listings")], jobs=[job]).resolve_job_def(job.name)
    with open_instance(home) as instance:
        run = instance.create_run_for_job(
            resolved,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({dg.AssetKey("raw_listings")}),
            tags={PROCESS_TAG: here_and_now()},
        )
        assert "1 runs are unfinished" in str(tick(home, SOLD_LISTINGS).skip_message)
    name_of_dead = "from vps_ml.processes import *; print(here_and_now())"
    dead = subprocess.run([sys.executable, "-c", name_of_dead], capture_output=True, text=True, check=True)
    with open_instance(home) as instance:
        instance.delete_run(run.run_id)
        run = instance.create_run_for_job(
            resolved,
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset({dg.AssetKey("raw_listings")}),
            tags={PROCESS_TAG: dead.stdout.strip()},
        )
        assert tick(home, SOLD_LISTINGS).run_requests
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_locked_warehouse_is_left_to_the_next_tick(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.path.mkdir(parents=True)
    hold = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(home.warehouse)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        monkeypatch.setattr(sensors, "LOCK_TIMEOUT_S", 0.2)
        assert tick(home, SOLD_LISTINGS).skip_message == "the warehouse is being written"
    finally:
        holder.kill()
        holder.wait()


def test_every_asset_has_a_sensor_and_a_job_that_makes_it() -> None:
    assert set(LINEAGE) == FITTED | FOLLOWING
    made = [key.to_user_string() for job in sensors.LAYER_JOBS for key in job.selection.selected_keys]
    assert made == list(LINEAGE)


def test_sensors_run_unless_they_are_stopped_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "VPS_SENSORS" not in os.environ
    every = sensors.all_sensors(sensors.default_status())
    assert {sensor.name for sensor in every} == {
        "inbox_sensor", "sold_listings_sensor", "retraining_sensor", "alert_on_failure", "services_sensor",
        "standing_sensor",
    }  # fmt: skip
    assert all(sensor.default_status == RUNNING for sensor in every)
    monkeypatch.setenv("VPS_SENSORS", "stopped")
    stopped = dg.DefaultSensorStatus.STOPPED
    assert all(sensor.default_status == stopped for sensor in sensors.all_sensors(sensors.default_status()))


def test_a_sensor_that_nobody_touched_runs_as_the_environment_says_whatever_was_stored(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster keeps a state of sensors that ran by default; with the sensors off, it does not count."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("vps"), "__repository__"), "retraining_sensor"
    )
    with open_instance(home) as instance:
        assert sensors.is_running(instance, "retraining_sensor")
        stored = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
        instance.add_instigator_state(stored)
        assert sensors.is_running(instance, "retraining_sensor")
        monkeypatch.setenv("VPS_SENSORS", "stopped")
        assert not sensors.is_running(instance, "retraining_sensor")
        instance.update_instigator_state(stored.with_status(InstigatorStatus.RUNNING))
        assert sensors.is_running(instance, "retraining_sensor")
