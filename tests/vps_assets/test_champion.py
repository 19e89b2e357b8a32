import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from vps_assets.assets.champion import (
    challenger,
    decided,
    earlier_champion,
    folder_of,
    known_history,
    looks,
    record_decision,
    rolled_back,
    with_decision,
)
from vps_assets.home import Home
from vps_assets.tables.schemas import CHAMPION_HISTORY, CHAMPION_MODEL, conforming
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import Settings
from vps_ml.artefacts import artefact
from vps_ml.evaluation.comparison import Comparison, can_judge

NOW = datetime(2024, 6, 1, tzinfo=UTC)
BETTER = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.35, -0.08, -0.02, 1, -0.03)
BY_LUCK = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.35, -0.12, 0.02, 1, 0.01)
BY_LITTLE = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.398, -0.003, -0.001, 1, -0.001)
OF_FEW = Comparison(20, "", "", 0.7, 0.40, 0.20, -0.3, -0.1, 1, -0.1)


def report(model_id: str, aurc: float, **changed: object) -> dict:
    row = {
        "model_id": model_id, "aurc": aurc, "male_of_all": 0.5, "tested": 100, "segment": "all", "split_kind": "time",
        "objective": "cross_fitted", "constraint_kind": "percentile", "constraint_value": 0.7, "seed": 0,
    }  # fmt: skip
    return row | changed


def history(*decisions: tuple[str, str, str | None]) -> pl.DataFrame:
    """(decision, model, instead of which), an hour apart."""
    return pl.DataFrame(
        [(*row, NOW + timedelta(hours=hour)) for hour, row in enumerate(decisions)],
        schema=["decision", "model_id", "instead_of", "decided_at"],
        orient="row",
    )


@pytest.fixture
def models(home: Home) -> Home:
    """A home with the files of models a, b and c, and of what they were trained with."""
    needs = {"feature_map_id": "map", "roles_id": "roles", "embedding_id": "e"}
    for name in ("map", "roles", "backbone"):
        artefact(home.models, name, lambda folder, name=name: {"kind": name})
    artefact(home.path / "embeddings", "e", lambda folder: {"backbones": {"category": "models/backbone"}})
    for model_id in "abc":
        artefact(home.models, model_id, lambda folder: {"kind": "pricing_model", **needs})
    return home


def test_the_served_kind_is_judged_on_the_newest_days() -> None:
    rows = pl.DataFrame([report("group", 0.1, split_kind="group"), report("time", 0.4), report("other", 0.1, seed=1)])
    assert challenger(rows)["model_id"] == "time"


def test_without_a_split_by_time_the_split_by_group_stands_in() -> None:
    assert challenger(pl.DataFrame([report("group", 0.1, split_kind="group")]))["model_id"] == "group"


def test_nothing_served_makes_no_challenger() -> None:
    assert challenger(pl.DataFrame([report("paper", 0.1, objective="paper")])) is None


def test_the_first_model_is_promoted() -> None:
    assert decided(None, "a", None, ()).decision == "promoted"


def test_the_champion_that_is_judged_again_is_kept() -> None:
    assert decided("a", "a", None, ()).decision == "kept"


def test_a_better_challenger_is_promoted() -> None:
    verdict = decided("old", "new", BETTER, ())
    assert (verdict.decision, verdict.model_id) == ("promoted", "new")


@pytest.mark.parametrize("comparison", [BY_LUCK, BY_LITTLE, OF_FEW], ids=["by luck", "by little", "of few"])
def test_a_challenger_that_is_better_by_luck_by_little_or_of_few_listings_is_refused(comparison: Comparison) -> None:
    verdict = decided("old", "new", comparison, ())
    assert (verdict.decision, verdict.model_id) == ("refused", "old")


def test_a_champion_whose_files_are_gone_gives_way_and_the_evidence_says_so() -> None:
    verdict = decided("gone", "new", None, ())
    assert verdict.decision == "promoted"
    assert "files are gone" in verdict.evidence


def test_a_model_that_was_rolled_back_is_not_promoted_again() -> None:
    verdict = decided("a", "b", BETTER, rolled_back(history(("promoted", "b", "a"), ("rolled back", "a", "b"))))
    assert (verdict.decision, verdict.model_id) == ("refused", "a")


def test_the_evidence_names_errors_coverage_listings_and_days() -> None:
    for words in ("0.3500", "0.4000", "70%", "500", "2024-05-20 to 2024-05-31", "-0.0800 to -0.0200", "97.5%", "1%"):
        assert words in decided("old", "new", BETTER, ()).evidence


def test_a_rollback_goes_to_the_champion_before_and_then_further_back(models: Home) -> None:
    told = [("promoted", "a", None), ("promoted", "b", "a"), ("refused", "x", None), ("promoted", "c", "b")]
    assert earlier_champion(history(*told), "c", models.path) == "b"
    assert earlier_champion(history(*told, ("rolled back", "b", "c")), "b", models.path) == "a"


def test_a_rollback_passes_over_models_whose_files_are_gone(models: Home) -> None:
    told = [("promoted", "a", None), ("promoted", "gone", "a"), ("promoted", "c", "gone")]
    assert earlier_champion(history(*told), "c", models.path) == "a"


def test_there_is_nothing_before_the_first_champion(models: Home) -> None:
    assert earlier_champion(history(("promoted", "a", None)), "a", models.path) is None


def test_the_champion_before_is_that_before_its_last_promotion(models: Home) -> None:
    told = [("promoted", "a", None), ("promoted", "b", "a"), ("promoted", "a", "b")]
    assert earlier_champion(history(*told), "a", models.path) == "b"


@pytest.mark.parametrize("gone", ["models/map", "models/roles", "models/backbone", "embeddings/e", "models/a"])
def test_a_model_cannot_judge_without_what_it_was_trained_with(models: Home, gone: str) -> None:
    assert can_judge(models.models / "a", models.path)
    shutil.rmtree(models.path / gone)
    assert not can_judge(models.models / "a", models.path)


def test_what_is_no_price_model_cannot_judge(models: Home) -> None:
    assert not can_judge(models.models / "backbone", models.path)


def decision(model_id: str, challenger_id: str, told: str, instead_of: str | None, hour: int) -> pl.DataFrame:
    row = {
        "model_id": model_id, "path": folder_of(model_id), "challenger_id": challenger_id, "instead_of": instead_of,
        "decision": told, "evidence": "", "tested": None, "decided_at": NOW + timedelta(hours=hour),
    }  # fmt: skip
    return conforming(pl.DataFrame([row]), CHAMPION_MODEL)


def recorded_row(home: Home, comparison: Comparison | None, known: dict) -> pl.DataFrame:
    settings = Settings(home=str(home.path), recipe_name="demo")
    return record_decision(dg.build_op_context(resources={"settings": settings}), comparison=comparison, known=known)


def recorded(home: Home, comparison: Comparison | None, known: dict) -> tuple[str, str]:
    """(what is decided, which model is in force)."""
    row = recorded_row(home, comparison, known)
    return row["decision"][0], row["model_id"][0]


def test_a_decision_that_a_killed_run_left_out_of_the_history_gets_there_before_the_next(home: Home) -> None:
    warehouse = Warehouse(home)
    warehouse.replace("champion_model", decision("a", "b", "rolled back", "b", 0), "true", [], {})
    assert recorded(home, BETTER, {"current": "a", "challenger_id": "b", "to": ""}) == ("refused", "a")
    (row,) = warehouse.read("champion_history").to_dicts()
    assert (row["decision"], row["model_id"], row["instead_of"]) == ("rolled back", "a", "b")


def test_a_comparison_is_a_look_and_a_refusal_for_want_of_listings_is_none(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("old", "old", "promoted", None, 0), "true", [], {})
    for comparison in (OF_FEW, BY_LUCK):
        row = recorded_row(home, comparison, {"current": "old", "challenger_id": "new", "to": ""})
        Warehouse(home).replace("champion_model", row, "true", [], {})
    history = known_history(Warehouse(home), row)
    assert looks(history, "new") == [BY_LUCK.tested]
    assert looks(history, "old") == []


def test_a_rollback_during_a_comparison_stands(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("a", "b", "rolled back", "b", 0), "true", [], {})
    assert recorded(home, BETTER, {"current": "b", "challenger_id": "c", "to": ""}) == ("refused", "a")


def test_a_decision_that_repeats_the_one_before_is_no_news() -> None:
    none = conforming(pl.DataFrame(), CHAMPION_HISTORY)
    once = with_decision(none, decision("a", "b", "refused", None, 0))
    assert with_decision(once, decision("a", "b", "refused", None, 5)).equals(once)
    promoted = with_decision(once, decision("b", "b", "promoted", "a", 6))
    again = with_decision(promoted, decision("a", "b", "refused", None, 7))
    assert again["decision"].to_list() == ["refused", "promoted", "refused"]


def test_a_challenger_that_was_promoted_during_its_comparison_is_not_refused(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("c", "c", "promoted", "b", 0), "true", [], {})
    assert recorded(home, BETTER, {"current": "b", "challenger_id": "c", "to": ""}) == ("kept", "c")


def test_a_rollback_that_is_asked_for_twice_is_one(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("a", "b", "rolled back", "b", 0), "true", [], {})
    assert recorded(home, None, {"current": "a", "challenger_id": "b", "to": "a"}) == ("kept", "a")
