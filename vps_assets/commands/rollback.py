"""`vps rollback`: the champion before takes its place again."""

from vps_assets.assets.champion import champion_row, earlier_champion, folder_of, known_history
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.run import Plan, Progress, Request, execute, run_lineage
from vps_assets.warehouse.database import Warehouse
from vps_ml.evaluation.comparison import can_judge
from vps_ml.recipes import Recipe


class NothingToRollBackTo(LookupError):
    """There is no such earlier champion."""


def roll_back(home: Home, recipe: Recipe, to: str | None, progress: Progress) -> tuple[str, str]:
    """Put an earlier champion in force and price the open listings anew; (the model in force, the one before it).

    The model that gives way is not promoted again; a model that is trained later may be.

    Args:
        to: a model id; None for the champion before this one.

    Raises:
        NothingToRollBackTo: there is none, or its files are gone.
        RunFailed: a run failed.
    """
    warehouse = Warehouse(home)
    champion = champion_row(warehouse)
    if champion is None:
        raise NothingToRollBackTo("there is no champion yet: `vps run` trains and promotes one")
    current = champion["model_id"][0]
    target = to or earlier_champion(known_history(warehouse, champion), current, home.path)
    if target is None:
        raise NothingToRollBackTo(f"{current} is the first champion: there is none before it (see champion_history)")
    if target == current:
        raise NothingToRollBackTo(f"{current} is in force already")
    if not can_judge(home.path / folder_of(target), home.path):
        raise NothingToRollBackTo(f"{target} is no price model in {home.models}, or what it was trained with is gone")
    config = {"champion_model": {"ops": {"comparison_job": {"config": {"roll_back_to": target}}}}}
    with open_instance(home) as instance:
        execute(home, instance, Plan(("champion_model", "champion_history"), None, None), config)
    run_lineage(home, recipe, Request("price_suggestions", anew=False), progress)
    return target, current
