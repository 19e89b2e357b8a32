"""`vps run`: what is out of date is materialised through Dagster, layer by layer."""

import shutil
from bisect import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from vps_assets.home import Home
from vps_assets.landing.landed import LandedIndex, landed_index
from vps_assets.lineage.graph import (
    ALL_DATES,
    LINEAGE,
    Fingerprints,
    desired_fingerprints,
    out_of_date,
    patience_by_asset,
    selected,
)
from vps_assets.lineage.retraining import patience_from_environment
from vps_assets.sweeping import sweep
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe

Progress = Callable[[str], None]
JOINED_ACROSS = 7
"""Fresh dates between stale ones that are made again rather than start another run."""
MOST_STRETCHES = 20
"""With more gaps than this between stale dates, one run over all of them is the cheaper way."""


class RunFailed(RuntimeError):
    """A Dagster run failed; the message has its first cause."""


SEEDED = {
    "percentile_pricing_models": "percentile_job",
    "threshold_pricing_models": "threshold_job",
    "baseline_pricing_models": "baseline_job",
    "ablation_reports": "ablation_job",
}
"""Assets whose models are trained with each seed, and the op that takes their number."""
JUDGED = ("evaluation_predictions", "evaluation_reports")


@dataclass(frozen=True)
class Plan:
    """One Dagster run: assets with the same partitions, and the first and last of those (None without)."""

    assets: tuple[str, ...]
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    selection: str | None = None
    first: date | None = None
    last: date | None = None
    seeds: int = 1
    anew: bool = True
    """Whether named assets are made although they are up to date."""

    @property
    def all_dates(self) -> bool:
        return self.first is None and self.last is None

    def forced(self, asset: str) -> bool:
        """Whether the asset is made although it is up to date: where it is named, not where `+` adds it."""
        if not self.anew:
            return False
        named = {t.strip().strip("+") for t in self.selection.split(",")} if self.selection else set()
        return asset in named or (self.seeds > 1 and asset in (*SEEDED, *JUDGED))


def layers() -> list[tuple[str, ...]]:
    """Neighbours in the lineage with the same partitions: what one Dagster run can make."""
    groups = groupby(LINEAGE, key=lambda asset: LINEAGE[asset].partitions)
    return [tuple(assets) for _, assets in groups]


def stretches(stale: Sequence[str], filled: Sequence[str]) -> list[tuple[str, str]]:
    """Stale dates as (first, last) ranges, joined where at most `JOINED_ACROSS` dates between them are fresh.

    A Dagster run costs a second, whatever it makes; a fresh date that is made again comes out as it was, and soon.

    Args:
        stale: dates to make, ascending.
        filled: all dates that have rows, ascending.
    """
    fresh = sorted(set(filled) - set(stale))
    ranges: list[tuple[str, str]] = []
    for day in stale:
        between = bisect(fresh, day) - bisect(fresh, ranges[-1][1]) if ranges else 0
        if ranges and between <= JOINED_ACROSS:
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return [(stale[0], stale[-1])] if len(ranges) > MOST_STRETCHES else ranges


def plans(
    layer: Sequence[str],
    request: Request,
    stale: Mapping[str, list[str]],
    keys: Mapping[str, list[str]],
    days: list[str],
) -> list[Plan]:
    """The Dagster runs that make this layer's part of the request."""
    kind = LINEAGE[layer[0]].partitions
    chosen = selected(request.selection)
    wanted: dict[str, list[str]] = {}
    for asset in layer:
        if asset in chosen:
            everything = days if kind == "day" else keys[kind]
            wanted[asset] = sorted(set(everything)) if request.forced(asset) else stale.get(asset, [])
    if kind == "day":
        wanted = {asset: within(made, request) for asset, made in wanted.items()}
    wanted = {asset: partitions for asset, partitions in wanted.items() if partitions}
    if not wanted:
        return []
    return ranged(wanted, keys, lambda stale: stretches(stale, days))


def ranged(
    wanted: Mapping[str, Collection[str]],
    keys: Mapping[str, list[str]],
    stretched: Callable[[list[str]], list[tuple[str, str]]],
) -> list[Plan]:
    """The runs that make these partitions of assets that have the same; dates in the stretches that are asked for."""
    kind = LINEAGE[next(iter(wanted))].partitions
    if kind == "none":
        return [Plan(tuple(wanted), None, None)]
    together = sorted(set().union(*wanted.values()))
    ranges = stretched(together) if kind == "day" else [key_range(together, keys[kind])]
    return [Plan(tuple(wanted), first, last) for first, last in ranges]


def key_range(wanted: Collection[str], keys: Sequence[str]) -> tuple[str, str]:
    """The range of static partitions, in their own order, that holds all that are wanted."""
    ordered = [key for key in keys if key in wanted]
    return ordered[0], ordered[-1]


def within(days: list[str], request: Request) -> list[str]:
    """The days that lie in the request's dates."""
    first, last = (str(request.first or date.min), str(request.last or date.max))
    return [day for day in days if first <= day <= last]


def run_lineage(home: Home, recipe: Recipe, request: Request, progress: Progress) -> int:
    """Materialise what the request asks for; how many Dagster runs that took (0: nothing had to be done).

    Raises:
        RunFailed: a run failed; what it had not reached stays as it was, and a re-run goes on from there.
    """
    from vps_assets.orchestration.instance import free_dead_runs, open_instance

    warehouse = Warehouse(home)
    sweep(home)
    done = 0
    with open_instance(home) as instance:
        for run_id in free_dead_runs(instance):
            progress(f"freed what the dead run {run_id} held")
        index = landed_index(home)
        for layer in layers():
            stale, days = state(index, recipe, warehouse)
            for plan in plans(layer, request, stale, partition_keys(), days):
                span = f", {plan.first} to {plan.last}" if plan.first else ""
                progress(f"{', '.join(plan.assets)}{span}")
                ops = training_config(plan, request.seeds)
                execute(home, instance, plan, ops, all_dates=request.all_dates)
                done += 1
            if "raw_listings" in layer:  # what lands while the run goes on is the next run's
                taken_in = warehouse.fingerprints().get("raw_listings", {})
                index = LandedIndex(taken_in, warehouse.good_sales())
    warehouse.publish()
    return done


def state(index: LandedIndex, recipe: Recipe, warehouse: Warehouse) -> tuple[dict[str, list[str]], list[str]]:
    """(what is out of date, the dates that have rows or had some)."""
    recorded: Fingerprints = warehouse.fingerprints()
    bears = patience_by_asset(patience_from_environment())
    desired = desired_fingerprints(index.fingerprints, index.sales, recorded, recipe, partition_keys(), bears)
    return out_of_date(desired, recorded), sorted(index.fingerprints.keys() | recorded.get("raw_listings", {}).keys())


def partition_keys() -> dict[str, list[str]]:
    from vps_assets.tables.partitions import COVERAGE_TARGET_PARTITIONS, ERROR_TOLERANCE_PARTITIONS, TASKS

    return {
        "none": [""],
        "task": list(TASKS.get_partition_keys()),
        "coverage_target": list(COVERAGE_TARGET_PARTITIONS.get_partition_keys()),
        "error_tolerance": list(ERROR_TOLERANCE_PARTITIONS.get_partition_keys()),
    }


def execute(home: Home, instance: Any, plan: Plan, ops: dict, *, all_dates: bool = False) -> None:
    """Run one plan in this process, on the shared instance, so that the UI shows it with its logs.

    Args:
        ops: configuration by asset, as Dagster takes it.
        all_dates: whether this is one of the runs that make every date that is out of date.

    Raises:
        RunFailed: it failed.
    """
    import dagster as dg
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    recon = ReconstructableRepository.for_module("vps_assets.definitions", "defs", None)
    keys = [dg.AssetKey(asset) for asset in plan.assets]
    job = recon.get_definition().get_implicit_job_def_for_assets(keys)
    assert job is not None, f"{plan.assets} do not share their partitions"
    result = dg.execute_job(
        recon.get_reconstructable_job(job.name),
        instance,
        run_config={"loggers": {"console": {"config": {}}}, "ops": ops},
        tags={"vps/started_by": "vps run", **range_tags(plan, all_dates=all_dates)},
        asset_selection=keys,
    )
    if not result.success:
        raise RunFailed(first_cause(result))
    shutil.rmtree(home.op_outputs / result.run_id, ignore_errors=True)


def range_tags(plan: Plan, *, all_dates: bool) -> dict[str, str]:
    """How Dagster is told which partitions one run makes, and checks, whether the other dates are made too."""
    if plan.first is None or plan.last is None:
        return {}
    window = {"dagster/asset_partition_range_start": plan.first, "dagster/asset_partition_range_end": plan.last}
    return window | ({ALL_DATES: "yes"} if all_dates else {})


def training_config(plan: Plan, seeds: int) -> dict:
    """The number of seeds, for the ops that train."""
    trained = {asset: op for asset, op in SEEDED.items() if asset in plan.assets}
    return {asset: {"ops": {op: {"config": {"seeds": seeds}}}} for asset, op in trained.items()}


def first_cause(result: Any) -> str:
    """Why a run failed, in one line."""
    for event in result.all_events:
        data = event.event_specific_data
        error = getattr(data, "error", None)
        if event.is_step_failure and error is not None:
            return f"{event.step_key}: {brief(root_message(error))}"
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not data.passed and data.severity.value == "ERROR":
            told = ", ".join(f"{name}: {value.value}" for name, value in data.metadata.items())
            return f"check {data.check_name} of {data.asset_key.to_user_string()} failed ({told})"
    return "the run failed; see its log in the UI (make ui)"


def root_message(error: Any) -> str:
    """What the first cause of a step's error says."""
    while error.cause is not None:
        error = error.cause
    return error.message.removeprefix("dagster._core.definitions.events.Failure: ")


def brief(message: str) -> str:
    """A message on one line, not too long for a terminal."""
    line = " ".join(message.split())
    return line if len(line) <= 400 else f"{line[:400]} …"
