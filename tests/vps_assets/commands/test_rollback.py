"""`vps rollback`: which model takes the champion's place, and that it does so while a training goes on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from datasets import quick_recipe, sold_rows

from vps_assets.assets.champion import record_rollback, rollback_job
from vps_assets.assets.champion_decisions import Verdict, decision_row, with_decision
from vps_assets.commands.rollback import NothingToRollBackTo, rollback_target
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Records, basis_of
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.run import first_cause
from vps_assets.tables.models import CHAMPION_HISTORY
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import aligned
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.settings import Settings
from vps_ml.features.dataset import PricingDataset
from vps_ml.ops import GPU_POOL
from vps_ml.pricing.models import fit_variant
from vps_ml.pricing.variants import Variant
from vps_ml.recipes import demo


@pytest.fixture
def models(home: Home) -> list[str]:
    """Three price models; the first was promoted, then the second, which is in force."""
    dataset = PricingDataset(sold_rows(home.artefacts), quick_recipe(), home.artefacts)
    made = [
        fit_variant(dataset, Variant(constraint_kind="percentile", constraint_value=value, objective="paper"), str)
        for value in (0.5, 0.6, 0.7)
    ]
    history, row = aligned(pl.DataFrame(), CHAMPION_HISTORY), pl.DataFrame()
    for before, model_id in ((None, str(made[0])), (str(made[0]), str(made[1]))):
        verdict = Verdict("promoted", model_id, f"instead of {before}")
        row = decision_row(verdict, before, model_id, home.artefacts)
        history = with_decision(history, row)
    warehouse = Warehouse(home)
    warehouse.replace("champion_model", row, "true", [], {})
    warehouse.replace("champion_history", history, "true", [], {})
    return [str(model_id) for model_id in made]


@pytest.fixture
def instance(home: Home) -> Iterator[dg.DagsterInstance]:
    with open_instance(home) as opened:
        yield opened


def rolled_back_to(home: Home, instance: dg.DagsterInstance, model_id: str) -> dg.ExecuteInProcessResult:
    """The job, as the command runs it but for its process, which may have loaded another directory's definitions."""
    settings = Settings(data_directory=str(home.path), recipe_name="demo")
    config = {"ops": {record_rollback.name: {"config": {"to": model_id}}}}
    return rollback_job.execute_in_process(config, instance, resources={"settings": settings}, raise_on_error=False)


def in_force(home: Home) -> dict:
    return Warehouse(home).read("champion_model").row(0, named=True)


def test_it_does_not_wait_while_a_training_holds_the_accelerator(
    home: Home, instance: dg.DagsterInstance, models: list[str]
) -> None:
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(GPU_POOL)
    assert storage.claim_concurrency_slot(GPU_POOL, "a training", "train_pricing_models").is_claimed
    rollback = threading.Thread(target=rolled_back_to, args=(home, instance, models[0]), daemon=True)
    rollback.start()
    rollback.join(timeout=120)
    assert not rollback.is_alive()
    assert in_force(home)["model_id"] == models[0]
    assert not storage.claim_concurrency_slot(GPU_POOL, "another", "suggest_prices").is_claimed


def test_table_history_copy_and_fingerprints_agree_after_it(
    home: Home, instance: dg.DagsterInstance, models: list[str]
) -> None:
    rolled_back_to(home, instance, models[0])
    row = in_force(home)
    assert (row["decision"], row["instead_of"]) == ("rolled back", models[1])
    history = Warehouse(home).read("champion_history").sort("decided_at")
    assert history["model_id"].to_list() == [models[0], models[1], models[0]]
    with open_analytics(home) as analytics:
        assert analytics.table("champion_model")["model_id"].to_list() == [models[0]]
    made = Warehouse(home).records().made
    noted = basis_of("champion_history", WHOLE, demo(), Records({"champion_model": made["champion_model"]}))
    assert made["champion_history"][WHOLE].basis == noted


def test_a_second_run_of_it_changes_nothing(home: Home, instance: dg.DagsterInstance, models: list[str]) -> None:
    rolled_back_to(home, instance, models[0])
    before = in_force(home)
    rolled_back_to(home, instance, models[0])
    assert in_force(home) == before


def test_the_target_is_the_champion_before_this_one_or_the_one_that_is_named(home: Home, models: list[str]) -> None:
    assert rollback_target(home, None) == (models[0], models[1])
    assert rollback_target(home, models[2]) == (models[2], models[1])


def test_the_model_that_was_rolled_back_is_no_target_any_more(
    home: Home, instance: dg.DagsterInstance, models: list[str]
) -> None:
    rolled_back_to(home, instance, models[0])
    with pytest.raises(NothingToRollBackTo, match="is the first champion"):
        rollback_target(home, None)
    assert rollback_target(home, models[1]) == (models[1], models[0])  # unless it is named


def test_what_cannot_be_put_in_force_is_refused(home: Home, models: list[str]) -> None:
    for to, words in ((models[1], "in force already"), ("b", "is no price model"), ("none", "is no price model")):
        with pytest.raises(NothingToRollBackTo, match=words):
            rollback_target(home, to)
    Warehouse(home).replace("champion_model", pl.DataFrame(schema={"model_id": pl.String}), "true", [], {})
    with pytest.raises(NothingToRollBackTo, match="no champion yet"):
        rollback_target(home, None)


def test_a_model_that_has_gone_meanwhile_fails_the_run_and_leaves_the_champion(
    home: Home, instance: dg.DagsterInstance, models: list[str], tmp_path: Path
) -> None:
    (home.path / home.artefacts.model_path(models[0])).rename(tmp_path / "gone")
    failed = rolled_back_to(home, instance, models[0])
    assert "There is no price model" in first_cause(failed)
    assert in_force(home)["model_id"] == models[1]
