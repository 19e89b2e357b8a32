"""What `model_comparisons` says of models whose errors are known."""

import numpy as np
import polars as pl
import pytest

from vps_assets.assets.comparisons import Evaluated, comparison_rows
from vps_assets.tables.models import MODEL_COMPARISONS
from vps_assets.tables.schemas import conforming
from vps_ml.evaluation import resampling
from vps_ml.pricing.variants import COVERAGE_TARGETS


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "RESAMPLES", 300)


def kind(objective: str, value: float = 0.7, **changed: object) -> dict:
    row = {
        "model_id": f"{objective} {value}", "constraint_kind": "percentile", "constraint_value": value,
        "objective": objective, "features": "MSTFE", "warm_up": True, "split_kind": "time", "seed": 0,
    }  # fmt: skip
    return row | changed


TREES = kind("boosted_trees", constraint_kind="baseline")
MEDIAN = kind("category_median", 1.0, constraint_kind="baseline")


def evaluated(*models: dict, error: dict[str, float], listings: int = 120, groups: int = 60, qualified: float = 0.7):
    """Models that are off by so much on average, on the same listings; each qualifies the same share."""
    rng = np.random.default_rng(0)
    common = np.abs(rng.normal(size=listings))
    frames = []
    for model in models:
        off = common * error[model["objective"]]
        frames.append(
            pl.DataFrame(
                {
                    "model_id": model["model_id"],
                    "listing_id": [f"{i:03}" for i in range(listings)],
                    "log_price": 0.0,
                    "predicted_log_price": off,
                    "qualification": np.where(np.arange(listings) < qualified * listings, 0.9, 0.1),
                }
            )
        )
    items = pl.DataFrame({"listing_id": [f"{i:03}" for i in range(listings)], "category": "c"}).with_columns(
        group_key=pl.Series([str(i % groups) for i in range(listings)])
    )
    return Evaluated(pl.concat(frames), pl.DataFrame(list(models)), items)


def test_the_served_kind_is_held_against_every_rival_by_every_metric_that_both_have() -> None:
    error = {"blended": 1.0, "boosted_trees": 1.5, "category_median": 3.0}
    rows = conforming(comparison_rows(evaluated(kind("blended"), TREES, MEDIAN, error=error)), MODEL_COMPARISONS)
    assert set(rows["family"]) == {"served, time"}
    found = {(row["against"].split(",")[0], row["metric"]): row for row in rows.to_dicts()}
    metrics = {"aurc", "male_of_all", "male_at_0.3", "male_at_0.5", "male_at_0.7", "male_at_its_coverage"}
    assert {metric for rival, metric in found if rival == "boosted_trees"} == metrics
    assert {metric for rival, metric in found if rival == "category_median"} == {"male_of_all"}
    trees = found["boosted_trees", "male_of_all"]
    assert trees["difference"] == pytest.approx(-0.5 * trees["value"])
    assert (trees["verdict"], trees["groups"], trees["tested"], trees["baseline"]) == ("yes", 60, 120, True)
    assert found["boosted_trees", "male_at_its_coverage"]["value"] == pytest.approx(
        found["boosted_trees", "male_at_0.7"]["value"]
    )


def test_of_few_groups_nothing_can_be_told() -> None:
    error = {"blended": 1.0, "boosted_trees": 1.5}
    rows = comparison_rows(evaluated(kind("blended"), TREES, error=error, groups=29))
    assert set(rows["verdict"]) == {"cannot tell"}


def test_a_model_that_qualifies_nothing_has_no_error_to_compare_and_stops_nothing() -> None:
    """The series of δ is about the qualified items' error; the first of them takes none."""
    series = [kind("paper", value, split_kind="group") for value in COVERAGE_TARGETS]
    made = evaluated(*series, error={"paper": 1.0})
    first = made.by_model[("paper 0.3",)]
    made.by_model[("paper 0.3",)] = first.with_columns(qualification=pl.lit(0.1))
    rows = conforming(comparison_rows(made), MODEL_COMPARISONS)
    assert rows.height == 3  # .4 to .5, .5 to .6, .6 to .7
    assert not rows["claim"].str.contains("0.3").any()


def test_a_kind_that_several_claims_are_about_has_the_metrics_of_each() -> None:
    """At δ = .7 the served kind is held against its rivals, and is the last of the series of δ."""
    series = [kind("blended", value, split_kind="group") for value in COVERAGE_TARGETS]
    trees = kind("boosted_trees", constraint_kind="baseline", split_kind="group")
    rows = comparison_rows(evaluated(*series, trees, error={"blended": 1.0, "boosted_trees": 1.5}))
    assert rows.filter(pl.col("claim").str.starts_with("blended: MALE")).height == len(COVERAGE_TARGETS)
    assert rows.filter(pl.col("claim") == "blended beats boosted_trees")["metric"].n_unique() == 6
