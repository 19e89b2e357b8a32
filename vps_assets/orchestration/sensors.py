"""The sensors: what is there is looked up, `automation` and `inbox` decide, Dagster starts the runs."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.scheduler.instigation import InstigatorStatus

from vps_assets.landing import inbox
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LINEAGE, desired_fingerprints, out_of_date, patience_by_asset
from vps_assets.lineage.retraining import Patience, patience_from_environment
from vps_assets.orchestration import alerts
from vps_assets.orchestration import decisions as automation
from vps_assets.orchestration.instance import UNFINISHED, free_dead_runs
from vps_assets.orchestration.run import layers, partition_keys, range_tags
from vps_assets.warehouse.database import Warehouse, WarehouseBusy
from vps_assets.warehouse.io_manager import Settings

SENSOR = "vps/sensor"
TICK_S = 15
LOCK_TIMEOUT_S = 5.0
"""A tick that finds the warehouse locked leaves it to the next one."""
STATUS = (
    dg.DefaultSensorStatus.STOPPED if os.environ.get("VPS_SENSORS") == "stopped" else dg.DefaultSensorStatus.RUNNING
)


class Files(dg.Config):
    """Names in the inbox."""

    files: list[str]


@dg.op
def take_in_files(context: dg.OpExecutionContext, config: Files, settings: Settings) -> None:
    """Land the files, or refuse them; the run fails where one was refused or could not be landed, and says why."""
    taken = inbox.take_in(config.files, settings.at, context.log.info)
    for name, landing in taken.landed.items():
        context.log.info(f"{name}: {landing.rows:,} rows landed, {landing.bad:,} of them bad (to be quarantined)")
    wrong = {"refused (now in inbox/refused)": taken.refused, "not landed (stays in the inbox)": taken.failed}
    told = [f"{what}: {why}" for what, files in wrong.items() for why in files.values()]
    if told:
        raise dg.Failure("; ".join(told), allow_retries=False)


@dg.job(description="Lands files of the inbox.")
def inbox_job() -> None:
    take_in_files()


LINEAGE_JOBS: dict[tuple[str, ...], UnresolvedAssetJobDefinition] = {
    layer: dg.define_asset_job(f"{layer[0]}_job", dg.AssetSelection.assets(*layer), description=", ".join(layer))
    for layer in layers()
}
"""One job for each stretch of the lineage whose assets have the same partitions: what one run can make."""


def unfinished_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that are queued or under way, those of dead processes aside: they are failed, and their slots freed."""
    free_dead_runs(instance)
    waiting = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    return list(instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, *waiting])))


@dg.sensor(job=inbox_job, minimum_interval_seconds=TICK_S, default_status=STATUS)
def inbox_sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    """Files that are dropped in `$VPS_HOME/inbox/` are landed, or refused with the reason."""
    settings.at.inbox.mkdir(parents=True, exist_ok=True)
    under_way = sum(run.job_name == inbox_job.name for run in unfinished_runs(context.instance))
    intake = inbox.decide(context.cursor, inbox.dropped(settings.at.inbox), under_way, time.time())
    if not intake.files:
        return dg.SensorResult(skip_reason=intake.said, cursor=intake.cursor)
    config = dg.RunConfig(ops={take_in_files.name: Files(files=list(intake.files))})
    request = dg.RunRequest(intake.run_key, config, tags={SENSOR: "inbox_sensor"})
    return dg.SensorResult(run_requests=[request], cursor=intake.cursor)


@dg.sensor(jobs=list(LINEAGE_JOBS.values()), minimum_interval_seconds=TICK_S, default_status=STATUS)
def sold_listings_sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    """What has landed is taken in, dates that it touches and no others; then evaluation and suggestions."""
    return tick(context, settings, automation.MADE_ANEW)


@dg.sensor(jobs=list(LINEAGE_JOBS.values()), minimum_interval_seconds=TICK_S, default_status=STATUS)
def retraining_sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    """What was fitted is fitted again when enough new sales have landed: price models often, backbones rarely."""
    return tick(context, settings, automation.FITTED)


def tick(context: dg.SensorEvaluationContext, settings: Settings, mine: frozenset[str]) -> dg.SensorResult:
    """Ask for the next step of what is out of date among `mine`."""
    runs = [run for run in unfinished_runs(context.instance) if (run.asset_selection or set()) & KEYS]
    warehouse = Warehouse(settings.at, LOCK_TIMEOUT_S)
    try:
        there = what_is_there(context.instance, settings, warehouse, mine, len(runs))
    except WarehouseBusy:
        return dg.SensorResult(skip_reason="the warehouse is being written")
    decision = automation.decide(context.cursor, there, mine)
    if not decision.asks:
        return dg.SensorResult(skip_reason=decision.said, cursor=decision.cursor)
    context.log.info(decision.said)
    requests = [request_of(asking, context.sensor_name) for asking in decision.asks]
    return dg.SensorResult(run_requests=requests, cursor=decision.cursor)


KEYS = {dg.AssetKey(asset) for asset in LINEAGE}


def what_is_there(
    instance: dg.DagsterInstance, settings: Settings, warehouse: Warehouse, mine: frozenset[str], under_way: int
) -> automation.There:
    """Look up what `mine` is made of; nothing is read while runs are under way, for then nothing is decided.

    While retraining fails, or its sensor is stopped, everything else is made with the models that there are.
    """
    keys = partition_keys()
    if under_way:
        return automation.There({}, {}, under_way, keys, time.time())
    index, recorded = landed_index(settings.at), warehouse.fingerprints()
    bears = patience_now(warehouse.made_at(), patience_from_environment())
    waits = mine == automation.FITTED or retraining_works(instance)
    kept = () if waits else automation.FITTED
    desired = desired_fingerprints(index.fingerprints, index.sales, recorded, settings.recipe, keys, bears, kept)
    return automation.There(out_of_date(desired, recorded), desired, under_way, keys, time.time())


def patience_now(made_at: Mapping[str, float], patience: Mapping[str, Patience]) -> dict[str, Patience]:
    """How many new sales each fitted asset bears now: until its time has come, twice those that it was fitted on.

    Sales that have doubled do not wait: a marketplace that opens would be priced for a week by its first hour.
    """
    now = time.time()
    return {
        asset: replace(each, until_doubled=now - made_at.get(asset, 0) < each.at_least.total_seconds())
        for asset, each in patience_by_asset(patience).items()
    }


def retraining_works(instance: dg.DagsterInstance) -> bool:
    """Whether `retraining_sensor` is running, and its newest run did not come to nothing."""
    newest = instance.get_runs(dg.RunsFilter(tags={SENSOR: retraining_sensor.name}), limit=1)
    failed = any(run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED) for run in newest)
    return is_running(instance, retraining_sensor.name) and not failed


def is_running(instance: dg.DagsterInstance, sensor: str) -> bool:
    """Whether a sensor ticks: as somebody set it in the UI, else as it starts."""
    told = [state.status for state in instance.all_instigator_state() if state.name == sensor]
    as_it_starts = not told or told[-1] == InstigatorStatus.DECLARED_IN_CODE
    return dg.DefaultSensorStatus.RUNNING == STATUS if as_it_starts else told[-1] == InstigatorStatus.RUNNING


def request_of(asking: automation.Asking, sensor: str) -> dg.RunRequest:
    """A Dagster run of the plan."""
    plan = asking.plan
    job = next(job for layer, job in LINEAGE_JOBS.items() if plan.assets[0] in layer)
    tags = {SENSOR: sensor, **range_tags(plan, all_dates=True)}
    keys = [dg.AssetKey(asset) for asset in plan.assets]
    return dg.RunRequest(asking.run_key, tags=tags, job_name=job.name, asset_selection=keys)


SENSORS = (inbox_sensor, sold_listings_sensor, retraining_sensor, alerts.on_failure(STATUS))
JOBS: tuple[dg.JobDefinition | UnresolvedAssetJobDefinition, ...] = (inbox_job, *LINEAGE_JOBS.values())
