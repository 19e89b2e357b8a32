"""The sensors' wrappers against a real instance and warehouse."""

import os
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from scenario import listing, listings_file

from vps_assets.commands.forget import rewrite_landings
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.lineage.retraining import DEFAULT, Patience, patience_from_environment
from vps_assets.orchestration import decisions as automation
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import free_dead_runs, open_instance
from vps_assets.warehouse.io_manager import Settings

HOUR = timedelta(hours=1)
NO_FILES = {"ops": {"take_in_files": {"config": {"files": []}}}}


def tick(home: Home, sensor: dg.SensorDefinition, cursor: str | None = None) -> SensorExecutionData:
    settings = Settings(home=str(home.path), recipe_name="demo")
    with (
        open_instance(home) as instance,
        dg.build_sensor_context(instance, cursor, sensor_name=sensor.name, resources={"settings": settings}) as context,
    ):
        return sensor.evaluate_tick(context)


def test_a_dropped_file_is_asked_for_at_the_second_tick_with_its_name(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    first = tick(home, sensors.inbox_sensor)
    assert not first.run_requests
    (request,) = tick(home, sensors.inbox_sensor, first.cursor).run_requests
    assert request.run_config["ops"]["take_in_files"]["config"] == {"files": ["day.parquet"]}


def test_the_inbox_job_lands_the_file_and_fails_where_one_was_refused_naming_it(home: Home) -> None:
    listings_file(home.inbox, [listing(1)], "day.parquet")
    (home.inbox / "bad.csv").write_text("price\n1\n")
    config = dg.RunConfig(ops={"take_in_files": sensors.Files(files=["bad.csv", "day.parquet"])})
    resources = {"settings": Settings(home=str(home.path), recipe_name="demo")}
    ran = sensors.inbox_job.execute_in_process(config, resources=resources, raise_on_error=False)
    assert not ran.success
    assert "bad.csv" in ran.get_step_failure_events()[0].step_failure_data.error.message
    assert (home.inbox / "landed" / "day.parquet").exists()


def test_what_has_landed_is_asked_for_by_its_dates(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1), listing(2), listing(5)])], None, home, print)
    asked = tick(home, sensors.sold_listings_sensor).run_requests
    assert [request.job_name for request in asked] == ["raw_listings_job"] * 2
    assert [request.tags["dagster/asset_partition_range_start"] for request in asked] == ["2024-01-02", "2024-01-06"]
    assert not tick(home, sensors.retraining_sensor).run_requests


def test_landings_are_read_again_once_one_came_or_was_rewritten_and_not_before(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1), listing(2)])], None, home, print)
    index = landed_index(home)
    assert index.sales == 2
    assert landed_index(home) is index
    land([listings_file(home.path / "in", [listing(3)], "more.parquet")], None, home, print)
    assert landed_index(home).sales == 3
    rewrite_landings(home, listing(1)["seller_id"])
    assert landed_index(home).sales == 2


def test_an_unfinished_run_of_the_lineage_holds_the_sensors_back_and_one_of_a_dead_process_does_not(home: Home) -> None:
    land([listings_file(home.path / "in", [listing(1)])], None, home, print)
    job = dg.define_asset_job("raw_listings_job", dg.AssetSelection.assets("raw_listings"))
    resolved = dg.Definitions([dg.asset(lambda: None, name="raw_listings")], jobs=[job]).resolve_job_def(job.name)
    with open_instance(home) as instance:
        run = instance.create_run_for_job(
            resolved, status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({dg.AssetKey("raw_listings")})
        )
        pid = {"pid": dg.MetadataValue.text(str(os.getpid()))}
        instance.report_engine_event("started", run, EngineEventData(metadata=pid))
        assert "1 runs are under way" in str(tick(home, sensors.sold_listings_sensor).skip_message)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    with open_instance(home) as instance:
        instance.delete_run(run.run_id)
        run = instance.create_run_for_job(
            resolved, status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({dg.AssetKey("raw_listings")})
        )
        pid = {"pid": dg.MetadataValue.text(dead.stdout.strip())}
        instance.report_engine_event("started", run, EngineEventData(metadata=pid))
        assert tick(home, sensors.sold_listings_sensor).run_requests
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_locked_warehouse_is_left_to_the_next_tick(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.path.mkdir(parents=True)
    hold = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(home.warehouse)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        monkeypatch.setattr(sensors, "LOCK_TIMEOUT_S", 0.2)
        assert tick(home, sensors.sold_listings_sensor).skip_message == "the warehouse is being written"
    finally:
        holder.kill()
        holder.wait()


def test_what_was_fitted_lately_waits_unless_sales_have_doubled() -> None:
    kept = sensors.patience_now(
        {"task_backbones": time.time() - 3600, "price_bounds": time.time() - 8 * 86400}, DEFAULT
    )
    assert kept["price_bounds"] == DEFAULT["backbones"]
    assert not kept["task_backbones"].outgrown(199, 100)
    assert kept["task_backbones"].outgrown(200, 100)
    patient = sensors.patience_now({"task_backbones": time.time()}, {**DEFAULT, "backbones": Patience(3.0, None, HOUR)})
    assert not patient["task_backbones"].outgrown(399, 100), "waiting makes nobody less patient"
    assert set(kept) == automation.FITTED


@pytest.mark.parametrize(
    ("text", "patience"),
    [
        ("10% 24h", Patience(0.1, None, timedelta(hours=24))),
        ("5000 0.5h", Patience(None, 5000, timedelta(minutes=30))),
    ],
)
def test_patience_is_a_share_or_a_count_and_hours(
    text: str, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPS_RETRAIN_PRICE_MODELS", text)
    assert patience_from_environment() == {**DEFAULT, "price_models": patience}


@pytest.mark.parametrize("text", ["10%", "0% 24h", "often", "24h 10%"])
def test_patience_that_makes_no_sense_is_refused_with_an_example(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_RETRAIN_BACKBONES", text)
    with pytest.raises(ValueError, match="VPS_RETRAIN_BACKBONES.*10% 24h"):
        patience_from_environment()


def test_a_count_of_sales_outgrows_whatever_the_share() -> None:
    patience = Patience(None, 50, timedelta(0))
    assert not patience.outgrown(1049, 1000)
    assert patience.outgrown(1050, 1000)


def test_every_asset_has_a_sensor_and_a_job_that_makes_it() -> None:
    assert set(LINEAGE) == automation.FITTED | automation.MADE_ANEW
    assert [asset for layer in sensors.LINEAGE_JOBS for asset in layer] == list(LINEAGE)


def test_sensors_run_unless_they_are_stopped_by_the_environment() -> None:
    assert "VPS_SENSORS" not in os.environ
    assert {sensor.name for sensor in sensors.SENSORS} == {
        "inbox_sensor", "sold_listings_sensor", "retraining_sensor", "alert_on_failure",
    }  # fmt: skip
    assert all(sensor.default_status == dg.DefaultSensorStatus.RUNNING for sensor in sensors.SENSORS)


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
        monkeypatch.setattr(sensors, "STATUS", dg.DefaultSensorStatus.STOPPED)
        assert not sensors.is_running(instance, "retraining_sensor")
        instance.update_instigator_state(stored.with_status(InstigatorStatus.RUNNING))
        assert sensors.is_running(instance, "retraining_sensor")


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
