from datetime import UTC, datetime

import polars as pl

from vps_assets.assets.champion import challenger, decided

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def report(model_id: str, aurc: float, **changed: object) -> dict:
    row = {
        "model_id": model_id, "aurc": aurc, "male_of_all": 0.5, "tested": 100, "segment": "all", "split_kind": "time",
        "objective": "cross_fitted", "constraint_kind": "percentile", "constraint_value": 0.7, "seed": 0,
    }  # fmt: skip
    return row | changed


def decision(current: str | None, *reports: dict) -> tuple[str, str]:
    """(what is decided, which model is in force) after these reports."""
    frame = pl.DataFrame(reports)
    models = pl.DataFrame({"model_id": frame["model_id"], "path": frame["model_id"]})
    before = {"model_id": current, "path": current} if current else None
    row = decided(before, challenger(frame), frame, models, NOW)
    return row["decision"], row["model_id"]


def test_the_served_kind_is_judged_on_the_newest_days() -> None:
    rows = pl.DataFrame([report("group", 0.1, split_kind="group"), report("time", 0.4), report("other", 0.1, seed=1)])
    assert challenger(rows)["model_id"] == "time"


def test_without_a_split_by_time_the_split_by_group_stands_in() -> None:
    assert challenger(pl.DataFrame([report("group", 0.1, split_kind="group")]))["model_id"] == "group"


def test_nothing_served_makes_no_challenger() -> None:
    assert challenger(pl.DataFrame([report("paper", 0.1, objective="paper")])) is None


def test_the_first_model_is_promoted() -> None:
    assert decision(None, report("a", 0.4)) == ("promoted", "a")


def test_a_challenger_that_is_no_better_on_the_same_rows_is_refused() -> None:
    assert decision("old", report("new", 0.4), report("old", 0.4, seed=7)) == ("refused", "old")


def test_a_better_challenger_is_promoted() -> None:
    assert decision("old", report("new", 0.3), report("old", 0.4, seed=7)) == ("promoted", "new")


def test_the_champion_that_is_judged_again_is_kept() -> None:
    assert decision("a", report("a", 0.4)) == ("kept", "a")


def test_a_champion_that_the_evaluation_no_longer_covers_gives_way() -> None:
    assert decision("gone", report("new", 0.9)) == ("promoted", "new")
