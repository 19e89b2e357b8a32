"""Which model prices open listings: what is decided about a challenger, and to which model a rollback goes."""

import shutil
from datetime import timedelta

import polars as pl
import pytest
from champions import BETTER, BY_CHANCE, BY_LITTLE, NOW, OF_FEW, decision, with_models
from scenario import comparisons

from vps_assets.assets.champion_decisions import (
    BEHIND,
    beside_baselines,
    challenger,
    decided,
    earlier_champion,
    last_served_as,
    rolled_back,
    served_id,
    with_decisions,
)
from vps_assets.home import Home
from vps_assets.tables.models import CHAMPION_HISTORY
from vps_assets.tables.schemas import conforming
from vps_ml.cards import Contents
from vps_ml.evaluation.comparison import Comparison, can_predict
from vps_ml.evaluation.resampling import AT_ITS_COVERAGE


def report(model_id: str, aurc: float, **changed: object) -> dict:
    row = {
        "model_id": model_id, "aurc": aurc, "male_of_all": 0.5, "tested": 100, "segment": "all", "split_kind": "time",
        "objective": "blended", "features": "MSTFE", "seed": 0,
        "constraint_kind": "percentile", "constraint_value": 0.7,
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
    return with_models(home)


def test_the_served_kind_is_judged_on_the_newest_days() -> None:
    rows = pl.DataFrame([report("group", 0.1, split_kind="group"), report("time", 0.4), report("other", 0.1, seed=1)])
    assert challenger(rows, "photo")["model_id"] == "time"


def test_without_a_split_by_time_the_split_by_group_replaces_it() -> None:
    assert challenger(pl.DataFrame([report("group", 0.1, split_kind="group")]), "photo")["model_id"] == "group"


def test_nothing_served_makes_no_challenger() -> None:
    assert challenger(pl.DataFrame([report("paper", 0.1, objective="paper")]), "photo") is None


def test_the_first_model_is_promoted() -> None:
    assert decided(None, "a", None, ()).decision == "promoted"


def test_the_champion_that_is_judged_again_is_kept() -> None:
    assert decided("a", "a", None, ()).decision == "kept"


def test_a_better_challenger_is_promoted() -> None:
    verdict = decided("old", "new", BETTER, ())
    assert (verdict.decision, verdict.model_id) == ("promoted", "new")


@pytest.mark.parametrize("comparison", [BY_CHANCE, BY_LITTLE, OF_FEW], ids=["by chance", "by little", "of few"])
def test_a_challenger_that_is_better_by_luck_by_little_or_of_few_listings_is_refused(comparison: Comparison) -> None:
    verdict = decided("old", "new", comparison, ())
    assert (verdict.decision, verdict.model_id) == ("refused", "old")


def test_a_champion_whose_files_are_gone_gives_way_and_the_evidence_names_that() -> None:
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
    decisions = [("promoted", "a", None), ("promoted", "b", "a"), ("refused", "x", None), ("promoted", "c", "b")]
    assert earlier_champion(history(*decisions), "c", models.artefacts) == "b"
    assert earlier_champion(history(*decisions, ("rolled back", "b", "c")), "b", models.artefacts) == "a"


def test_a_rollback_passes_over_models_whose_files_are_gone(models: Home) -> None:
    decisions = [("promoted", "a", None), ("promoted", "gone", "a"), ("promoted", "c", "gone")]
    assert earlier_champion(history(*decisions), "c", models.artefacts) == "a"


def test_there_is_nothing_before_the_first_champion(models: Home) -> None:
    assert earlier_champion(history(("promoted", "a", None)), "a", models.artefacts) is None


def test_the_champion_before_is_that_before_its_last_promotion(models: Home) -> None:
    decisions = [("promoted", "a", None), ("promoted", "b", "a"), ("promoted", "a", "b")]
    assert earlier_champion(history(*decisions), "a", models.artefacts) == "b"


@pytest.mark.parametrize("gone", ["models/map", "models/roles", "models/backbone", "embeddings/e", "models/a"])
def test_a_model_cannot_predict_without_what_it_was_trained_with(models: Home, gone: str) -> None:
    assert can_predict(models.artefacts, "a")
    shutil.rmtree(models.path / gone)
    assert not can_predict(models.artefacts, "a")


def test_a_model_that_saw_a_column_that_is_gone_cannot_predict(models: Home) -> None:
    with_columns = {"kind": "feature_map", "columns": ["seller_median", "gone"]}
    shutil.rmtree(models.path / "models" / "map")
    models.artefacts.models.make("map", lambda: Contents(with_columns))
    assert not can_predict(models.artefacts, "a")


def test_what_is_no_price_model_cannot_predict(models: Home) -> None:
    assert not can_predict(models.artefacts, "backbone")


def test_a_decision_that_repeats_the_one_before_is_left_out() -> None:
    none = conforming(pl.DataFrame(), CHAMPION_HISTORY)
    once = with_decisions(none, decision("a", "b", "refused", None, 0))
    assert with_decisions(once, decision("a", "b", "refused", None, 5)).equals(once)
    promoted = with_decisions(once, decision("b", "b", "promoted", "a", 6))
    again = with_decisions(promoted, decision("a", "b", "refused", None, 7))
    assert again["decision"].to_list() == ["refused", "promoted", "refused"]


def served(model_id: str, what: str, served_as: str | None, hour: int) -> pl.DataFrame:
    return decision("a", model_id, what, None, hour).with_columns(served_as=pl.lit(served_as, pl.String))


def test_what_a_model_is_served_as_is_in_the_history_of_its_promotion_alone(models: Home) -> None:
    none = conforming(pl.DataFrame(), CHAMPION_HISTORY)
    promoted = with_decisions(none, served("a", "promoted", "b", 0))
    refused = with_decisions(promoted, served("x", "refused", "b", 1))  # the refit in force, not x's
    assert refused.select("model_id", "served_as").rows() == [("a", "b"), ("x", None)]
    assert last_served_as(refused, "a", models.artefacts) == "b"
    assert last_served_as(refused, "x", models.artefacts) is None
    shutil.rmtree(models.path / "models" / "b")
    assert last_served_as(refused, "a", models.artefacts) is None  # then the judged model itself is served
    assert served_id(served("a", "promoted", "b", 0)) == "b"
    assert served_id(decision("a", "a", "promoted", None, 0)) == "a"


@pytest.mark.parametrize(
    ("difference", "standing"), [(0.03, BEHIND), (0.01, "not told apart"), (-0.03, "surely better")]
)
def test_the_evidence_says_how_a_model_stands_beside_the_best_baseline_at_its_coverage(
    difference: float, standing: str
) -> None:
    """Intervals of ± .02; the deep ensemble is the worse of the two baselines."""
    rows = comparisons(
        ("boosted_trees", AT_ITS_COVERAGE, difference), ("deep_ensemble", AT_ITS_COVERAGE, difference - 0.1)
    )["model_comparisons"]
    evidence = beside_baselines(rows, "group", "photo")
    assert evidence.startswith(standing) and "boosted_trees" in evidence
    assert beside_baselines(rows, "time", "photo") == ""
