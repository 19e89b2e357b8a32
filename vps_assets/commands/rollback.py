"""`vps rollback`: an earlier champion takes its place again."""

import polars as pl

from vps_assets.assets.champion import record_rollback, rollback_job
from vps_assets.assets.champion_decisions import (
    champion_of,
    champion_rows,
    champions,
    earlier_champion,
    inputs_in,
    past_decisions,
)
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.lineage.planning import Request
from vps_assets.orchestration.instance import free_dead_runs, open_instance
from vps_assets.orchestration.run import Progress, execute_job, run_lineage
from vps_assets.warehouse.database import Warehouse
from vps_ml.evaluation.comparison import can_predict
from vps_ml.ops import GPU_POOL
from vps_ml.recipes import Recipe


class NothingToRollBackTo(UserError):
    """There is no such earlier champion."""


def roll_back(home: Home, recipe: Recipe, to: str | None, progress: Progress) -> tuple[str, str]:
    """Put an earlier champion in force and price the open listings again; (the model in force, the one before it).

    The model is in force at once; pricing needs the pool `gpu` and waits for it. The model that is replaced is not
    promoted again; a model that is trained later may be.

    Args:
        home: the data directory.
        recipe: in force.
        to: a model id; None for the champion before this one.
        progress: takes a line at a time.

    Raises:
        NothingToRollBackTo: there is none, or its files are gone.
        RunFailed: a run failed.
    """
    Warehouse(home).refuse_if_lost()
    target, current = rollback_target(home, to)
    with open_instance(home) as instance:
        free_dead_runs(instance, wait=True)
        execute_job(home, instance, rollback_job.name, {record_rollback.name: {"config": {"to": target}}}, {})
    progress(f"{target} is the champion now; open listings are priced again as soon as the pool {GPU_POOL} is free")
    run_lineage(home, recipe, Request(REPRICED, force_named=False), progress)
    return target, current


REPRICED = "price_suggestions,suggestion_history,suggestion_changes"
"""What a rollback makes anew."""


def rollback_target(home: Home, to: str | None) -> tuple[str, str]:
    """(the model to put in force, the champion of the same inputs).

    Without a model's id: of the photo, or where that has none before it, of the first other inputs that have.
    """
    warehouse = Warehouse(home)
    in_force = champion_rows(warehouse)
    if in_force.is_empty():
        raise NothingToRollBackTo("there is no champion yet: `vps run` trains and promotes one")
    history = past_decisions(warehouse, in_force)
    if to is not None:
        return named_target(home, to, in_force, history)
    for inputs in in_force["inputs"]:
        current = in_force.filter(pl.col("inputs") == inputs)["model_id"][0]
        target = earlier_champion(history.filter(pl.col("inputs") == inputs), current, home.artefacts)
        if target is not None:
            return target, current
    if champions(history) <= set(in_force["model_id"]):
        only = ", ".join(in_force["model_id"])
        raise NothingToRollBackTo(f"{only}: there was no other champion so far, none before it")
    raise NothingToRollBackTo(
        f"{in_force['model_id'][0]} has no champion before it that was not rolled back: name one of champion_history "
        "with --to"
    )


def named_target(home: Home, to: str, in_force: pl.DataFrame, history: pl.DataFrame) -> tuple[str, str]:
    """(the named model, the champion whose place it takes)."""
    inputs = inputs_in(history, to)
    champion = None if inputs is None else champion_of(in_force, inputs)
    if champion is None:
        raise NothingToRollBackTo(f"{to} never was champion: champion_history lists those that were")
    current = champion["model_id"][0]
    if to == current:
        raise NothingToRollBackTo(f"{current} is in force already")
    if not can_predict(home.artefacts, to):
        raise NothingToRollBackTo(f"{to} cannot predict any more: its files, or what it was trained with, are gone")
    return to, current
