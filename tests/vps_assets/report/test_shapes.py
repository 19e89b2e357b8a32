"""Which claims hold, beyond the noise."""

import polars as pl
import pytest
from scenario import by_seed

from vps_assets.report.published import Published
from vps_assets.report.shapes import beats, falls_with_severity, raw_coverage_lands, rises


@pytest.mark.parametrize(
    ("better", "worse", "verdict"),
    [
        (by_seed(0.40), by_seed(0.41), "yes"),
        (by_seed(0.41), by_seed(0.40), "no"),
        (by_seed(0.400), by_seed(0.404), "within noise"),
        (by_seed(0.40, 0.40), by_seed(0.41, 0.41), "yes"),
        (by_seed(0.40, 0.40), by_seed(0.39, 0.43), "within noise"),
        (by_seed(0.40), by_seed().cast({"aurc": pl.Float64}), "not measured"),
    ],
)
def test_a_claim_holds_only_beyond_the_noise(better: pl.DataFrame, worse: pl.DataFrame, verdict: str) -> None:
    assert beats("ours is better", better, worse, "aurc").verdict == verdict


def test_a_reason_is_given_only_where_a_claim_does_not_hold() -> None:
    assert rises("", [(0.3, 0.40), (0.7, 0.39)], "because").explanation == "because"
    assert rises("", [(0.3, 0.40), (0.7, 0.45)], "because").explanation == ""


def test_rising_allows_for_noise_but_not_for_a_fall() -> None:
    def verdict_of(*values: float) -> str:
        return rises("", list(enumerate(values))).verdict

    assert verdict_of(0.40, 0.41, 0.407, 0.43) == "yes"
    assert verdict_of(0.40, 0.43, 0.42) == "no"
    assert verdict_of(0.40, 0.399, 0.398) == "no"
    assert verdict_of(0.40) == "not measured"


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
