"""The sentence a manager reads first: about the model that prices."""

import polars as pl
from scenario import comparisons

from vps_assets.report.headline import headline
from vps_assets.report.published import Published
from vps_ml.evaluation.resampling import AT_ITS_COVERAGE

CHAMPION = {"model_id": "old", "challenger_id": "new", "evidence": "MALE 0.31 against the champion's 0.30 at 70%"}
REPORT = {
    "model_id": "old", "segment": "all", "constraint_value": 0.7, "objective": "blended", "coverage": 0.68,
    "tested": 800, "split_kind": "group", "male": 0.41, "male_low": 0.38, "male_high": 0.44, "range_level": 0.8,
}  # fmt: skip
RANGES = {"model_id": "old", "segment": "all", "tested": 50, "covered": 41}


def published(report: dict, champion: dict | None = None, seeds: int = 1) -> Published:
    rows = (("boosted_trees", AT_ITS_COVERAGE, -0.04), ("boosted_trees", "aurc", 0.0))
    compared = comparisons(*rows)["model_comparisons"]
    made = pl.DataFrame([champion or CHAMPION])
    return Published(
        {
            "evaluation_reports": pl.DataFrame([report]),
            "champion_model": made if champion != {} else made.clear(),
            "model_comparisons": compared.with_columns(model_ids=pl.lit([f"s{i}" for i in range(seeds)])),
            "range_adaptation": pl.DataFrame([RANGES]),
        }
    )


def test_it_tells_of_the_champion_and_of_the_best_rival_at_its_coverage() -> None:
    sentence = headline(published(REPORT))
    assert "takes 68.00% of 800 unseen items" in sentence or "takes 68%" in sentence
    assert "MALE 0.4100, 95% interval 0.3800 to 0.4400" in sentence
    assert "of these 50, 82" in sentence
    assert "At that coverage it is ahead of boosted trees" in sentence
    assert "(AURC) it is not told apart from boosted trees" in sentence


def test_where_a_difference_is_over_seeds_it_says_of_what() -> None:
    """Else the figures beside each other would not subtract: the champion is one model of several."""
    assert "its kind (MALE 0.4000, mean of 3 seeds) is ahead of boosted trees" in headline(published(REPORT, seeds=3))


def test_of_a_champion_that_newer_models_did_not_better_it_tells_what_it_was_compared_on() -> None:
    sentence = headline(published(REPORT | {"model_id": "new"}))
    assert sentence.startswith("old, the model in force, is older") and "newest of its kind, new: MALE 0.31" in sentence


def test_without_a_champion_it_says_so() -> None:
    assert headline(published(REPORT, {})) == "No model is in force."
