"""`vps rollback`: an earlier champion takes its place again."""

from vps_assets.assets.champion import record_rollback, rollback_job
from vps_assets.assets.champion_decisions import champion_row, champions, earlier_champion, past_decisions
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
        free_dead_runs(instance)
        execute_job(home, instance, rollback_job.name, {record_rollback.name: {"config": {"to": target}}}, {})
    progress(f"{target} is the champion now; open listings are priced again as soon as the pool {GPU_POOL} is free")
    run_lineage(home, recipe, Request("price_suggestions", force_named=False), progress)
    return target, current


def rollback_target(home: Home, to: str | None) -> tuple[str, str]:
    """(the model to put in force, the champion)."""
    warehouse = Warehouse(home)
    champion = champion_row(warehouse)
    if champion is None:
        raise NothingToRollBackTo("there is no champion yet: `vps run` trains and promotes one")
    current = champion["model_id"][0]
    history = past_decisions(warehouse, champion)
    target = to or earlier_champion(history, current, home.artefacts)
    if target is None and champions(history) <= {current}:
        raise NothingToRollBackTo(f"{current} is the only champion so far: there is none before it")
    if target is None:
        raise NothingToRollBackTo(
            f"{current} has no champion before it that was not rolled back: name one of champion_history with --to"
        )
    if target == current:
        raise NothingToRollBackTo(f"{current} is in force already")
    if target not in champions(history):
        raise NothingToRollBackTo(f"{target} never was champion: champion_history lists those that were")
    if not can_predict(home.artefacts, target):
        raise NothingToRollBackTo(f"{target} cannot predict any more: its files, or what it was trained with, are gone")
    return target, current
