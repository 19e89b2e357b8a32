import numpy as np
import pytest

from vps_ml.calibration import logit_shift, price_range
from vps_ml.metrics import aurc, male, risk_coverage, rmsle

ERROR = np.array([0.1, -0.4, 0.2])
IDS = np.array(["a", "b", "c"])


def test_male_and_rmsle_of_a_hand_computed_case() -> None:
    assert male(ERROR) == pytest.approx(0.7 / 3)
    assert rmsle(ERROR) == pytest.approx(np.sqrt(0.21 / 3))


def test_aurc_is_the_mean_of_the_running_male_from_the_most_qualified_on() -> None:
    qualification = np.array([0.2, 0.9, 0.5])  # b, c, a
    assert risk_coverage(ERROR, qualification, IDS) == pytest.approx([0.4, 0.3, 0.7 / 3])
    assert aurc(ERROR, qualification, IDS) == pytest.approx((0.4 + 0.3 + 0.7 / 3) / 3)


def test_ties_are_ordered_by_listing_id() -> None:
    shuffled = [2, 0, 1]
    same = np.full(3, 0.5)
    assert risk_coverage(ERROR[shuffled], same, IDS[shuffled]) == pytest.approx([0.1, 0.25, 0.7 / 3])


@pytest.mark.parametrize("target", [0.3, 0.4, 0.5, 0.6, 0.7])
def test_the_shifted_gate_qualifies_the_target_share_of_validation(target: float) -> None:
    logit = np.random.default_rng(0).normal(3, 2, 1000)
    shift = logit_shift(logit, target)
    assert np.mean(logit - shift >= 0) == pytest.approx(target, abs=0.0005)


def test_the_price_range_covers_new_residuals_at_its_level() -> None:
    # 2,000 worlds of 99 + 1 exchangeable residuals: coverage 0.8, standard error 0.009; 4 of them is 0.036.
    rng = np.random.default_rng(1)
    residual = rng.gamma(2.0, 1.0, (2000, 100))
    hits = [low <= row[-1] <= high for row in residual for low, high in [price_range(row[:-1], 0.8)]]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.036)


def test_without_residuals_the_range_is_unbounded() -> None:
    assert price_range(np.empty(0), 0.8) == (float("-inf"), float("inf"))
