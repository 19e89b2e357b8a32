"""`vps rollback`: which model takes the champion's place, and that it does so while a training goes on."""

import dagster as dg
import pytest
from champions import decision, rolled_back, with_models
from conftest import vps

from vps_assets.assets.champion import rollback_job
from vps_assets.assets.champion_decisions import past_decisions, with_decisions
from vps_assets.commands.rollback import NothingToRollBackTo, roll_back, rollback_target
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import LostWarehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.ops import GPU_POOL
from vps_ml.recipes import demo

CONFIG = {"ops": {"record_rollback": {"config": {"to": "c"}}}}


@pytest.fixture
def promoted(home: Home) -> Home:
    """The files of models a, b and c; a was promoted first, then b, which is in force."""
    warehouse = Warehouse(with_models(home))
    first, second = decision("a", "a", "promoted", None, 0), decision("b", "b", "promoted", "a", 1)
    warehouse.replace("champion_model", second, "true", [], {})
    history = with_decisions(with_decisions(past_decisions(warehouse, first.clear()), first), second)
    warehouse.replace("champion_history", history, "true", [], {})
    return home


def test_it_does_not_wait_while_a_training_holds_the_accelerator(promoted: Home) -> None:
    with open_instance(promoted) as instance:
        training = instance.create_run_for_job(rollback_job, run_config=CONFIG, status=dg.DagsterRunStatus.STARTING)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default(GPU_POOL)
        assert storage.claim_concurrency_slot(GPU_POOL, training.run_id, "train_pricing_models").is_claimed
        ran = vps("rollback", home=promoted.path)
        assert ran.returncode == 0, ran.stderr
        assert "as soon as the pool gpu is free" in ran.stderr
        assert storage.get_concurrency_info(GPU_POOL).active_run_ids == {training.run_id}
    assert Warehouse(promoted).read("champion_model")["model_id"].to_list() == ["a"]


def test_the_target_is_the_champion_before_this_one_or_the_one_that_is_named(promoted: Home) -> None:
    assert rollback_target(promoted, None) == ("a", "b")
    assert rollback_target(promoted, "a") == ("a", "b")


def test_the_model_that_was_rolled_back_is_the_target_only_if_it_is_named(promoted: Home) -> None:
    rolled_back(promoted, "a")
    with pytest.raises(NothingToRollBackTo, match="no champion before it"):
        rollback_target(promoted, None)
    assert rollback_target(promoted, "b") == ("b", "a")


@pytest.mark.parametrize(
    ("to", "words"),
    [("b", "in force already"), ("roles", "never was champion"), ("c", "never was"), ("../models/a", "never was")],
)
def test_what_cannot_be_put_in_force_is_refused(to: str, words: str, promoted: Home) -> None:
    with pytest.raises(NothingToRollBackTo, match=words):
        rollback_target(promoted, to)


def test_a_lost_warehouse_is_named_not_a_missing_champion(promoted: Home) -> None:
    publication_of(Warehouse(promoted)).publish()
    promoted.warehouse.unlink()
    with pytest.raises(LostWarehouse):
        roll_back(promoted, demo(), None, print)


def test_before_the_first_promotion_there_is_nothing_to_roll_back_to(home: Home) -> None:
    with pytest.raises(NothingToRollBackTo, match="no champion yet"):
        rollback_target(home, None)
