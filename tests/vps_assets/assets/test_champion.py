"""What is written about a champion: the decision after a comparison, and a rollback by hand."""

import shutil

import dagster as dg
import polars as pl
import pytest
from champions import BETTER, BY_CHANCE, OF_FEW, decision, rolled_back, settings_of, with_models
from scenario import comparisons

from vps_assets.assets.champion import comparison_job, record_decision
from vps_assets.assets.champion_decisions import champion_of, champion_rows, looks, past_decisions
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, basis_of
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.evaluation.comparison import Comparison
from vps_ml.ops.comparison import ComparisonJob, ComparisonResult
from vps_ml.recipes import demo

REPORTS = {name: aligned(pl.DataFrame(), TABLES[name]) for name in ("evaluation_reports", "words_reports")}


def recorded_row(home: Home, current: str, challenger_id: str, comparison: Comparison | None) -> pl.DataFrame:
    """The row that is written after this comparison, which began when `current` was the champion."""
    context = dg.build_op_context(resources={"settings": settings_of(home), "mlflow": None})
    result = ComparisonResult(
        "photo", current, challenger_id, comparison, "time", "c" if comparison is BETTER else None, "alike"
    )
    return record_decision(context, results=[result], model_comparisons=comparisons()["model_comparisons"], **REPORTS)


def recorded(home: Home, current: str, challenger_id: str, comparison: Comparison | None) -> tuple[str, str]:
    """(what is decided, which model is in force)."""
    row = recorded_row(home, current, challenger_id, comparison)
    return row["decision"][0], row["model_id"][0]


def test_a_decision_that_a_killed_run_left_out_of_the_history_gets_there_before_the_next(home: Home) -> None:
    warehouse = Warehouse(home)
    warehouse.replace("champion_model", decision("a", "b", "rolled back", "b", 0), "true", [], {})
    assert recorded(home, "a", "b", BETTER) == ("refused", "a")
    (row,) = warehouse.read("champion_history").to_dicts()
    assert (row["decision"], row["model_id"], row["instead_of"]) == ("rolled back", "a", "b")


def test_a_comparison_is_a_look_and_a_refusal_for_want_of_listings_is_none(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("old", "old", "promoted", None, 0), "true", [], {})
    for comparison in (OF_FEW, BY_CHANCE):
        row = recorded_row(home, "old", "new", comparison)
        Warehouse(home).replace("champion_model", row, "true", [], {})
    history = past_decisions(Warehouse(home), row)
    assert looks(history, "new") == [BY_CHANCE.tested]
    assert looks(history, "old") == []


def test_a_rollback_during_a_comparison_stands(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("a", "b", "rolled back", "b", 0), "true", [], {})
    assert recorded(home, "b", "c", BETTER) == ("refused", "a")


def test_a_challenger_that_was_promoted_during_its_comparison_is_not_refused(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("c", "c", "promoted", "b", 0), "true", [], {})
    assert recorded(home, "b", "c", BETTER) == ("kept", "c")


def test_a_promoted_model_is_served_as_its_refit_and_a_refusal_leaves_what_is_served(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("a", "a", "promoted", None, 0), "true", [], {})
    with_models(home)
    row = recorded_row(home, "a", "b", BETTER)
    assert row.select("model_id", "served_as", "path").row(0) == ("b", "c", "models/c")
    assert "alike" in row["evidence"][0]
    Warehouse(home).replace("champion_model", row, "true", [], {})
    after = recorded_row(home, "b", "a", BY_CHANCE)
    assert after.select("decision", "model_id", "served_as").row(0) == ("refused", "b", "c")


def test_a_champion_that_holds_is_served_as_its_new_refit_unless_another_took_its_place(home: Home) -> None:
    row = decision("a", "a", "promoted", None, 0)
    Warehouse(home).replace("champion_model", row, "true", [], {})
    with_models(home)
    context = dg.build_op_context(resources={"settings": settings_of(home), "mlflow": None})
    table = comparisons()["model_comparisons"]
    for compared_with, refit, served_as, words in (
        ("a", "c", "c", "; alike"), ("z", "c", None, ""), ("a", None, None, "; alike; goes on as a")
    ):  # fmt: skip
        result = ComparisonResult("photo", compared_with, "b", BY_CHANCE, "time", refit, "alike")
        after = record_decision(context, results=[result], model_comparisons=table, **REPORTS)
        assert after.select("decision", "model_id", "served_as").row(0) == ("refused", "a", served_as)
        assert after["evidence"][0].endswith(words) and (words or "alike" not in after["evidence"][0])


def test_a_refit_that_is_lost_gives_way_to_the_champion_itself_or_to_another_refit(home: Home) -> None:
    """Models a, b and c have their files; d, the refit in force, has lost its own."""
    with_models(home)
    row = decision("a", "a", "promoted", None, 0).with_columns(served_as=pl.lit("d"))
    Warehouse(home).replace("champion_model", row, "true", [], {})
    assert recorded_row(home, "a", "b", BY_CHANCE).select("decision", "served_as").row(0) == ("refused", None)
    context = dg.build_op_context(resources={"settings": settings_of(home), "mlflow": None})
    rows, table = pl.DataFrame({"x": [1]}), comparisons()["model_comparisons"]
    report = {
        "model_id": "a", "aurc": 0.1, "segment": "all", "split_kind": "time", "objective": "blended",
        "features": "MSTFE", "constraint_kind": "percentile", "constraint_value": 0.7, "seed": 0,
    }  # fmt: skip

    def job_of(reported: dict) -> ComparisonJob:
        table = pl.DataFrame([reported])
        (job,) = comparison_job(
            context, rows=rows, evaluation_reports=table, words_reports=table.clear(), percentile_pricing_models=rows
        )
        return job

    job = job_of(report)
    assert job.may_win and job.champion_id is None and not job.first, "it is refitted"
    assert job_of(report | {"model_id": "b"}).first
    kept = ComparisonResult("photo", "a", "a", None, "time", "c")
    again = record_decision(context, results=[kept], model_comparisons=table, **REPORTS)
    assert again.select("decision", "model_id", "served_as").row(0) == ("kept", "a", "c")
    whole = decision("a", "a", "promoted", None, 0).with_columns(served_as=pl.lit("c"))
    Warehouse(home).replace("champion_model", whole, "true", [], {})
    assert not job_of(report).may_win


@pytest.fixture
def in_force(home: Home) -> Warehouse:
    """The files of models a, b and c; b has been promoted instead of a."""
    warehouse = Warehouse(with_models(home))
    row = decision("b", "b", "promoted", "a", 0)
    warehouse.replace("champion_model", row, "true", [], {WHOLE: Fingerprint("basis", 100, "of b")})
    return warehouse


def test_a_rollback_puts_the_model_in_force_and_is_in_the_history_with_what_was_decided_before(
    in_force: Warehouse,
) -> None:
    assert rolled_back(in_force.home, "a").success
    (row,) = in_force.read("champion_model").to_dicts()
    assert (row["decision"], row["model_id"], row["instead_of"]) == ("rolled back", "a", "b")
    assert row["path"] == "models/a"
    history = in_force.read("champion_history").select("decision", "model_id", "instead_of").rows()
    assert history == [("promoted", "b", "a"), ("rolled back", "a", "b")]
    assert publication_of(in_force).is_current(), "analysts see it too"


def test_a_rollback_that_is_killed_after_its_first_write_leaves_the_decision_before_it_in_the_history(
    in_force: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither had the run before got its decision into the history."""
    replace = Warehouse.replace

    def killed(warehouse: Warehouse, table: str, *rest: object) -> None:
        replace(warehouse, table, *rest)
        if table == "champion_model":
            raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "replace", killed)
        assert not rolled_back(in_force.home, "a").success
    row = in_force.read("champion_model")
    assert past_decisions(in_force, row).select("decision", "model_id").rows() == [
        ("promoted", "b"),
        ("rolled back", "a"),
    ]


def test_a_rollback_that_is_requested_twice_is_one(in_force: Warehouse) -> None:
    assert rolled_back(in_force.home, "a").success
    row, history = in_force.read("champion_model"), in_force.read("champion_history")
    assert rolled_back(in_force.home, "a").success
    assert in_force.read("champion_model").equals(row)
    assert in_force.read("champion_history").equals(history)
    assert row["model_id"].to_list() == ["a"]
    assert history["decision"].to_list().count("rolled back") == 1


def test_after_a_rollback_what_was_priced_is_stale_and_champion_and_history_are_not(in_force: Warehouse) -> None:
    rolled_back(in_force.home, "a")
    made = in_force.records().made
    champion, history = made["champion_model"][WHOLE], made["champion_history"][WHOLE]
    assert (champion.basis, champion.sales) == ("basis", 100)
    assert champion.content != "of b"
    assert history.basis == basis_of("champion_history", WHOLE, demo(), in_force.records())


def test_a_rollback_is_recorded_as_a_materialization_of_champion_and_history(in_force: Warehouse) -> None:
    made = rolled_back(in_force.home, "a").get_asset_materialization_events()
    assert [event.asset_key.to_user_string() for event in made] == ["champion_model", "champion_history"]


@pytest.mark.parametrize(
    ("to", "gone", "words"),
    [
        ("d", None, "no champion"),
        ("c", None, "no champion"),
        ("backbone", None, "no champion"),
        ("../models/a", None, "no champion"),
        ("a", "models/roles", "files of a are gone"),
    ],
)
def test_a_rollback_to_a_model_that_was_not_champion_or_cannot_predict_fails_and_changes_nothing(
    in_force: Warehouse, to: str, gone: str | None, words: str
) -> None:
    if gone:
        shutil.rmtree(in_force.home.path / gone)
    ran = rolled_back(in_force.home, to)
    assert not ran.success
    assert words in ran.get_step_failure_events()[0].step_failure_data.error.message
    assert in_force.read("champion_model")["model_id"].to_list() == ["b"]
    assert in_force.read("champion_history") is None


def test_a_path_to_a_model_is_no_model(in_force: Warehouse) -> None:
    assert not rolled_back(in_force.home, "a/").success
    assert not rolled_back(in_force.home, "../models/a").success
    assert in_force.read("champion_model")["model_id"].to_list() == ["b"]


def test_without_a_champion_there_is_nothing_to_roll_back(home: Home) -> None:
    ran = rolled_back(with_models(home), "a")
    assert not ran.success
    assert "no champion" in ran.get_step_failure_events()[0].step_failure_data.error.message


def test_what_is_decided_of_words_leaves_the_champion_of_the_photo_in_force(home: Home) -> None:
    photo, both = decision("a", "a", "promoted", None, 0), decision("b", "b", "promoted", None, 0, "both")
    Warehouse(home).replace("champion_model", pl.concat([photo, both]), "true", [], {})
    context = dg.build_op_context(resources={"settings": settings_of(home), "mlflow": None})
    results = [ComparisonResult("both", "b", "c", BETTER, "time")]
    rows = record_decision(context, results=results, model_comparisons=comparisons()["model_comparisons"], **REPORTS)
    in_force = {row["inputs"]: (row["model_id"], row["instead_of"]) for row in rows.to_dicts()}
    assert in_force == {"both": ("c", "b"), "photo": ("a", None)}


def test_a_rollback_of_one_kind_of_inputs_leaves_the_others_in_force(in_force: Warehouse) -> None:
    rows = pl.concat([in_force.read("champion_model"), decision("c", "c", "promoted", None, 1, "both")])
    in_force.replace("champion_model", rows, "true", [], {})
    assert rolled_back(in_force.home, "a").success
    now = in_force.read("champion_model").select("inputs", "model_id").rows()
    assert now == [("photo", "a"), ("both", "c")], "in the order of before: nothing is made anew for an order"
    assert not rolled_back(in_force.home, "none").success


def test_a_champion_of_before_words_were_read_is_that_of_the_photo(home: Home) -> None:
    Warehouse(home).replace("champion_model", decision("a", "b", "refused", None, 0).drop("inputs"), "true", [], {})
    rows = champion_rows(Warehouse(home))
    assert rows["inputs"].to_list() == past_decisions(Warehouse(home), rows)["inputs"].to_list() == ["photo"]
    assert champion_of(rows, "photo")["model_id"][0] == "a" and champion_of(rows, "both") is None
