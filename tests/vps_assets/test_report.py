import numpy as np
import polars as pl
import pytest

from vps_assets.report.comparisons import margin
from vps_assets.report.published import Published
from vps_assets.report.shapes import beats, falls_with_severity, raw_coverage_lands, rises
from vps_assets.report.tables import over_seeds, range_bar
from vps_assets.report.truth import auroc_within, oracle


def seeds(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"seed": range(len(values)), "aurc": values})


def test_a_margin_is_paired_by_seed_and_counts_pairs_alone() -> None:
    # 0.1, 0.3, 0.2: mean 0.2, deviation 0.1, over the root of 3; the fourth seed has no partner
    gain = margin(seeds(0.4, 0.4, 0.5), seeds(0.5, 0.7, 0.7, 0.1), "aurc")
    assert (gain.mean, gain.error, gain.seeds) == (pytest.approx(0.2), pytest.approx(0.1 / 3**0.5), 3)
    assert gain.told() == "0.2000 ± 0.0577, 3 seeds"


def test_one_seed_has_no_standard_error() -> None:
    assert margin(seeds(0.4), seeds(0.5), "aurc").error is None
    assert over_seeds(seeds(0.4), "aurc") == "0.4000"
    assert over_seeds(seeds(0.4, 0.6), "aurc") == "0.5000 ± .1000"


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        (seeds(0.40), seeds(0.41), "yes"),
        (seeds(0.41), seeds(0.40), "no"),
        (seeds(0.400), seeds(0.404), "within noise"),
        (seeds(0.40, 0.40), seeds(0.41, 0.41), "yes"),
        (seeds(0.40, 0.40), seeds(0.39, 0.43), "within noise"),
        (seeds(0.40), seeds().cast({"aurc": pl.Float64}), "not measured"),
    ],
)
def test_a_claim_holds_only_beyond_the_noise(better: pl.DataFrame, worse: pl.DataFrame, verdict: str) -> None:
    assert beats("ours is better", better, worse, "aurc").verdict == verdict


def test_a_reason_is_given_only_where_a_claim_does_not_hold() -> None:
    assert rises("", [(0.3, 0.40), (0.7, 0.39)], "because").explanation == "because"
    assert rises("", [(0.3, 0.40), (0.7, 0.45)], "because").explanation == ""


def test_rising_allows_for_noise_but_not_for_a_fall() -> None:
    def told(*values: float) -> str:
        return rises("", list(enumerate(values))).verdict

    assert told(0.40, 0.41, 0.407, 0.43) == "yes"
    assert told(0.40, 0.43, 0.42) == "no"
    assert told(0.40, 0.399, 0.398) == "no"
    assert told(0.40) == "not measured"


def evaluated(coverage: dict[float, float]) -> Published:
    reports = pl.DataFrame(
        {
            "segment": "all",
            "split_kind": "group",
            "constraint_kind": "percentile",
            "objective": "paper",
            "constraint_value": list(coverage),
            "raw_coverage": list(coverage.values()),
        }
    )
    return Published({"evaluation_reports": reports})


def test_raw_coverage_is_held_to_its_own_target() -> None:
    near = {0.3: 0.33, 0.4: 0.41, 0.5: 0.46, 0.6: 0.62, 0.7: 0.71}
    assert raw_coverage_lands(evaluated(near), "paper").verdict == "yes"
    assert raw_coverage_lands(evaluated(near | {0.5: 0.56}), "paper").verdict == "no"
    assert raw_coverage_lands(evaluated({0.5: 0.5}), "paper").verdict == "not measured"


@pytest.mark.parametrize(
    ("change", "verdict"), [([0.0, -0.1, -0.2], "yes"), ([0.0, -0.1, -0.07], "yes"), ([0.0, -0.2, -0.1], "no")]
)
def test_qualification_has_to_fall_with_severity_but_for_noise(change: list[float], verdict: str) -> None:
    rows = {"corruption": "blur", "severity": [0, 1, 2], "change": change, "change_error": [0.0, 0.02, 0.02]}
    rows["qualification"] = [0.7 + step for step in change]
    assert [shape.verdict for shape in falls_with_severity(pl.DataFrame(rows))] == [verdict] * 2  # on average, blur


def test_a_range_may_be_off_by_two_points_or_three_standard_errors() -> None:
    assert range_bar(0.8, 100) == pytest.approx(0.12)
    assert range_bar(0.8, 1_000_000) == 0.02


def test_auroc_within_category_does_not_reward_knowing_the_category() -> None:
    """Category b is always judged lower and has more spoilt photos; inside each the gate knows nothing."""
    judged = pl.DataFrame(
        {
            "category": ["a"] * 4 + ["b"] * 4,
            "fault": ["blur", None, None, None, "dark", "dark", "dark", None],
            "qualification": [0.9] * 4 + [0.1] * 4,
        }
    )
    assert auroc_within(judged) == pytest.approx(0.5)
    seen = judged.with_columns(qualification=pl.col("fault").is_null().cast(pl.Float64))
    assert auroc_within(seen) == pytest.approx(1.0)


def test_the_oracle_orders_items_by_how_scattered_their_kind_is() -> None:
    predictions = pl.DataFrame({"listing_id": ["a", "b"], "log_price": [3.0, 5.0]})
    truth = pl.DataFrame({"listing_id": ["a", "b"], "noise_free_log_price": [3.4, 5.1], "noise": [0.5, 0.2]})
    _, risk = oracle(predictions, truth)
    assert np.allclose(risk, [0.1, 0.25])
