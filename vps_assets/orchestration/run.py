"""`vps run`: what is out of date is materialised through Dagster, layer by layer."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from vps_assets import interruption
from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_assets.landing.landed import LandedIndex, landed_index
from vps_assets.lineage.graph import LAYERS, LINEAGE
from vps_assets.lineage.planning import ALL_DATES, RANGE_TAGS, Plan, Request, plans, without_listings
from vps_assets.orchestration.instance import free_dead_runs, note_interrupted, open_instance
from vps_assets.orchestration.internals import ReconstructableRepository
from vps_assets.orchestration.retention import (
    days_from_environment,
    forget_old_runs,
    forget_old_snapshots,
    forget_unused_artefacts,
)
from vps_assets.orchestration.state import lineage_state
from vps_assets.sweeping import sweep
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.recipes import Recipe

Progress = Callable[[str], None]
CODE_LOCATION = "vps_assets.definitions"
LONGEST_MESSAGE = 400


class RunFailed(Failure):
    """A Dagster run failed; the message has its first cause."""


def run_lineage(home: Home, recipe: Recipe, request: Request, progress: Progress) -> int:
    """Materialise what the request asks for; the number of Dagster runs (0: nothing had to be done).

    Raises:
        RunFailed: a run failed; what it had not reached stays as it was, and the next run goes on from there.
        LostWarehouse: only the published copy is left.
    """
    warehouse, keep_days = Warehouse(home), days_from_environment()
    warehouse.refuse_if_lost()
    sweep(home)
    done = 0
    with open_instance(home) as instance:
        for run_id in free_dead_runs(instance, wait=True):
            progress(f"freed the slots of the dead run {run_id}")
        home.artefacts.models.seal_old()
        forget_old_runs(instance, keep_days)
        forget_unused_artefacts(home, keep_days)
        forget_old_snapshots(home, keep_days)
        warehouse.forget_superseded()
        index = landed_index(home)
        if nothing := without_listings(sorted(index.fingerprints), request):
            progress(nothing)
        state = lineage_state(index, recipe, warehouse)
        for layer in LAYERS:
            planned = plans(layer, request, state.stale, state.days)
            for plan in planned:
                span = f", {plan.first} to {plan.last}" if plan.first else ""
                progress(f"{', '.join(plan.assets)}{span}")
                execute(home, instance, plan, seeds=request.seeds, all_dates=request.all_dates)
                done += 1
            if "raw_listings" in layer:  # what lands while the run goes on is left to the next run
                taken_in = warehouse.records().made.get("raw_listings", {})
                index = LandedIndex(taken_in, warehouse.good_sales())
            if planned or "raw_listings" in layer:
                state = lineage_state(index, recipe, warehouse)
    publication_of(warehouse).publish()
    return done


def execute(home: Home, instance: dg.DagsterInstance, plan: Plan, *, seeds: int = 1, all_dates: bool = False) -> None:
    """Run one plan in this process, on the shared instance, so that the UI shows it with its logs.

    Args:
        home: the data directory.
        instance: where the run is recorded.
        plan: what to make.
        seeds: how many seeds models are trained with.
        all_dates: whether the run belongs to a set that covers every out-of-date listing date.

    Raises:
        RunFailed: it failed.
    """
    recon = ReconstructableRepository.for_module(CODE_LOCATION, "defs", None)
    keys = [dg.AssetKey(asset) for asset in plan.assets]
    job = recon.get_definition().get_implicit_job_def_for_assets(keys)
    assert job is not None, f"{plan.assets} do not share their partitions"
    execute_job(home, instance, job.name, seeds_config(plan, seeds), range_tags(plan, all_dates=all_dates), keys)


def execute_job(
    home: Home,
    instance: dg.DagsterInstance,
    job_name: str,
    ops: dict[str, Any],
    tags: dict[str, str],
    assets: list[dg.AssetKey] | None = None,
) -> None:
    """Run a job of the code location in this process; its outputs between ops are removed if it succeeds.

    Raises:
        RunFailed: it failed.
        KeyboardInterrupt: it ended before it could be interrupted.
    """
    recon = ReconstructableRepository.for_module(CODE_LOCATION, "defs", None)
    began = datetime.now(UTC)
    try:
        result = dg.execute_job(
            recon.get_reconstructable_job(job_name),
            instance,
            run_config={"loggers": {"console": {"config": {}}}, "ops": ops},
            tags={"vps/started_by": "vps run", **tags},
            asset_selection=assets,
        )
        interruption.heed()
    except BaseException:  # as an error of Dagster's, too
        if interruption.CAME.is_set():
            note_interrupted(instance, began)
        raise
    if not result.success:
        raise RunFailed(first_cause(result))
    shutil.rmtree(home.op_outputs / result.run_id, ignore_errors=True)


def range_tags(plan: Plan, *, all_dates: bool) -> dict[str, str]:
    """Tags for Dagster (which partitions the run makes) and for checks (whether the other dates are made too)."""
    if plan.first is None or plan.last is None:
        return {}
    window = dict(zip(RANGE_TAGS, (plan.first, plan.last), strict=True))
    return window | ({ALL_DATES: "yes"} if all_dates else {})


def seeds_config(plan: Plan, seeds: int) -> dict[str, Any]:
    """The number of seeds, for the ops that train."""
    ops = {asset: op for asset in plan.assets if (op := LINEAGE[asset].seeded_op) is not None}
    return {asset: {"ops": {op: {"config": {"seeds": seeds}}}} for asset, op in ops.items()}


def first_cause(result: Any) -> str:
    """Why a run failed, in one line."""
    for event in result.all_events:
        data = event.event_specific_data
        error = getattr(data, "error", None)
        if event.is_step_failure and error is not None:
            return f"{event.step_key}: {brief(root_message(error))}"
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not data.passed and data.severity.value == "ERROR":
            figures = ", ".join(f"{name}: {value.value}" for name, value in data.metadata.items())
            return f"check {data.check_name} of {data.asset_key.to_user_string()} failed ({figures})"
    for event in result.all_events:  # what fails outside of steps: resources, publication
        if (error := getattr(event.event_specific_data, "error", None)) is not None:
            return brief(root_message(error))
    return "the run failed; see its log in the UI (make ui)"


def root_message(error: Any) -> str:
    """The message of the first cause of a step's error."""
    while error.cause is not None:
        error = error.cause
    return error.message.removeprefix("dagster._core.definitions.events.Failure: ")


def brief(message: str) -> str:
    """A message on one line, not too long for a terminal."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} …"
