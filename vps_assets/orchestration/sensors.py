"""The sensors: the state is looked up, pure functions decide, Dagster starts the runs."""

import os
import time

import dagster as dg

from vps_assets.errors import WrongSetting, printable
from vps_assets.landing.inbox import dropped, take_in
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LAYERS, LINEAGE
from vps_assets.orchestration import alerts, inbox_decisions, lineage_decisions, services, standing
from vps_assets.orchestration.instance import unfinished_runs
from vps_assets.orchestration.internals import InstigatorStatus, UnresolvedAssetJobDefinition
from vps_assets.orchestration.lineage_decisions import FITTED, FOLLOWING, RunRequest, State
from vps_assets.orchestration.retention import (
    days_from_environment,
    forget_old_runs,
    forget_old_snapshots,
    forget_unused_artefacts,
)
from vps_assets.orchestration.run import range_tags
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import WarehouseBusy
from vps_assets.warehouse.io_manager import note_process
from vps_assets.warehouse.settings import Settings

SENSOR_TAG = "vps/sensor"
TICK_S = 15
LOCK_TIMEOUT_S = 5.0
"""A tick that finds the warehouse locked leaves it to the next one."""
INBOX, SOLD_LISTINGS, RETRAINING = "inbox_sensor", "sold_listings_sensor", "retraining_sensor"
SENSOR_NAMES = (INBOX, SOLD_LISTINGS, RETRAINING, alerts.NAME, services.NAME, standing.NAME)
ASSET_KEYS = {dg.AssetKey(asset) for asset in LINEAGE}

Jobs = tuple[dg.JobDefinition | UnresolvedAssetJobDefinition, ...]


def default_status() -> dg.DefaultSensorStatus:
    """Whether sensors that nobody touched tick: not if `VPS_SENSORS` is `stopped`.

    Raises:
        WrongSetting: it is something else.
    """
    given = os.environ.get("VPS_SENSORS") or "running"
    if given not in ("running", "stopped"):
        raise WrongSetting(f"VPS_SENSORS: {given!r} is neither stopped nor running")
    return dg.DefaultSensorStatus.STOPPED if given == "stopped" else dg.DefaultSensorStatus.RUNNING


class Files(dg.Config):
    """Names in the inbox, without a folder."""

    files: list[str]
    given_up: list[str] = []
    """Those that are refused: every run that was to land them broke off."""


@dg.op
def take_in_files(context: dg.OpExecutionContext, config: Files, settings: Settings) -> None:
    """Land the files, or refuse them; the run fails if one was refused or could not be landed, with the reasons."""
    note_process(context.instance, context.run_id)
    taken = take_in(config.files, settings.home, context.log.info, config.given_up)
    for name, landing in taken.landed.items():
        context.log.info(f"{name}: {printable(landing.told)}")
    wrong = {"refused (now in inbox/refused)": taken.refused, "not landed (stays in the inbox)": taken.failed}
    lines = [f"{what}: {reason}" for what, files in wrong.items() for reason in files.values()]
    if lines:
        raise dg.Failure("; ".join(lines), allow_retries=False)


@dg.job(description="Lands files of the inbox.")
def inbox_job() -> None:
    take_in_files()


@dg.op
def forget_unused(context: dg.OpExecutionContext, settings: Settings) -> None:
    """Delete the records of runs, and the models and embeddings without a use, that are older than `VPS_KEEP_DAYS`."""
    note_process(context.instance, context.run_id)
    days = days_from_environment()
    runs, artefacts = forget_old_runs(context.instance, days), forget_unused_artefacts(settings.home, days)
    forget_old_snapshots(settings.home, days)
    settings.warehouse.forget_superseded()
    context.log.info(f"deleted: the records of {runs} old runs, {artefacts} models and files of embeddings")


@dg.job(description="Deletes records of old runs, and models and embeddings without a use.")
def retention_job() -> None:
    forget_unused()


def nightly_retention(status: dg.DefaultSensorStatus) -> dg.ScheduleDefinition:
    """Runs `retention_job` once a day; `vps run` does the same."""
    running = status == dg.DefaultSensorStatus.RUNNING
    default = dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
    return dg.ScheduleDefinition(
        "nightly_retention",
        job=retention_job,
        cron_schedule="30 3 * * *",
        default_status=default,
        description="Every night: records of old runs, and models and embeddings without a use, are deleted.",
    )


JOB_NAMES = {
    "raw_listings": "listings_job",
    "price_bounds": "price_bounds_job",
    "clean_listings": "cleaning_job",
    "marketplace_statistics": "statistics_job",
    "task_backbones": "backbones_job",
    "image_embeddings": "embeddings_job",
    "percentile_pricing_models": "percentile_models_job",
    "threshold_pricing_models": "threshold_models_job",
    "baseline_pricing_models": "evaluation_and_champion_job",
    "price_suggestions": "suggestions_job",
    "corruption_reports": "advice_and_sales_job",
}
"""The first asset of a layer -> what the job that makes the layer is called in the UI."""
LAYER_JOBS: tuple[UnresolvedAssetJobDefinition, ...] = tuple(
    dg.define_asset_job(
        JOB_NAMES[next(iter(layer))], dg.AssetSelection.assets(*layer), description=f"Makes {', '.join(layer)}."
    )
    for layer in LAYERS
)
"""One job for each layer of the lineage."""


def inbox_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor of the inbox."""

    description = "Files that are dropped in the inbox are landed, or refused with the reason."

    @dg.sensor(
        name=INBOX, job=inbox_job, minimum_interval_seconds=TICK_S, default_status=status, description=description
    )
    def sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
        """Files that are dropped in `$VPS_HOME/inbox/` are landed, or refused with the reason."""
        settings.home.inbox.mkdir(parents=True, exist_ok=True)
        unfinished = sum(run.job_name == inbox_job.name for run in unfinished_runs(context.instance))
        intake = inbox_decisions.decide(context.cursor, dropped(settings.home.inbox), unfinished, time.time())
        if not intake.files:
            return dg.SensorResult(skip_reason=intake.message, cursor=intake.cursor)
        config = dg.RunConfig(ops={take_in_files.name: Files(files=list(intake.files), given_up=list(intake.given_up))})
        request = dg.RunRequest(intake.run_key, config, tags={SENSOR_TAG: INBOX})
        return dg.SensorResult(run_requests=[request], cursor=intake.cursor)

    return sensor


def lineage_sensor(
    name: str, own: frozenset[str], description: str, status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    """A sensor that requests what is out of date among its `own` assets."""

    @dg.sensor(
        name=name,
        jobs=list(LAYER_JOBS),
        minimum_interval_seconds=TICK_S,
        default_status=status,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
        runs = [run for run in unfinished_runs(context.instance) if (run.asset_selection or set()) & ASSET_KEYS]
        try:
            state = current_state(context.instance, settings, own, len(runs))
        except WarehouseBusy:
            return dg.SensorResult(skip_reason="the warehouse is being written")
        decision = lineage_decisions.decide(context.cursor, state, own)
        if not decision.requests:
            return dg.SensorResult(skip_reason=decision.message, cursor=decision.cursor)
        context.log.info(decision.message)
        requests = [dagster_request(request, name) for request in decision.requests]
        return dg.SensorResult(run_requests=requests, cursor=decision.cursor)

    return sensor


def current_state(instance: dg.DagsterInstance, settings: Settings, own: frozenset[str], unfinished: int) -> State:
    """Look up the state; nothing is read while runs are unfinished, since nothing is decided then.

    While retraining fails, or its sensor is stopped, everything else is made with the existing models.
    """
    if unfinished:
        return State({}, {}, unfinished, time.time())
    frozen = () if own == FITTED or retraining_works(instance) else FITTED
    warehouse = Warehouse(settings.home, LOCK_TIMEOUT_S)
    index = landed_index(settings.home)
    state = lineage_state(index, settings.recipe, warehouse, frozen, wait_for_minimum_age=True)
    return State(state.stale, state.desired, unfinished, time.time())


def retraining_works(instance: dg.DagsterInstance) -> bool:
    """Whether `retraining_sensor` is running, and its newest run did not fail."""
    newest = instance.get_runs(dg.RunsFilter(tags={SENSOR_TAG: RETRAINING}), limit=1)
    failed = any(run.status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED) for run in newest)
    return is_running(instance, RETRAINING) and not failed


def is_running(instance: dg.DagsterInstance, sensor: str) -> bool:
    """Whether a sensor ticks: as it was set in the UI, else by default."""
    states = [state.status for state in instance.all_instigator_state() if state.name == sensor]
    if not states or states[-1] == InstigatorStatus.DECLARED_IN_CODE:
        return default_status() == dg.DefaultSensorStatus.RUNNING
    return states[-1] == InstigatorStatus.RUNNING


def dagster_request(request: RunRequest, sensor: str) -> dg.RunRequest:
    """The request as Dagster takes it."""
    plan = request.plan
    job = next(job for job, layer in zip(LAYER_JOBS, LAYERS, strict=True) if plan.assets[0] in layer)
    tags = {SENSOR_TAG: sensor, **range_tags(plan, all_dates=True)}
    keys = [dg.AssetKey(asset) for asset in plan.assets]
    return dg.RunRequest(request.run_key, tags=tags, job_name=job.name, asset_selection=keys)


def all_sensors(status: dg.DefaultSensorStatus) -> list[dg.SensorDefinition]:
    """Every sensor of the code location."""
    following = "What has landed is taken in, the dates that it touches and no others; then evaluation and suggestions."
    fitted = "What was fitted is fitted again when enough new sales have landed: price models often, backbones rarely."
    return [
        inbox_sensor(status),
        lineage_sensor(SOLD_LISTINGS, FOLLOWING, following, status),
        lineage_sensor(RETRAINING, FITTED, fitted, status),
        alerts.on_failure(status),
        services.services_sensor(status),
        standing.standing_sensor(status),
    ]


JOBS: Jobs = (inbox_job, retention_job, *LAYER_JOBS)
