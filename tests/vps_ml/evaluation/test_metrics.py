import numpy as np
import pytest

from vps_ml.evaluation.metrics import aurc, male, male_of_top_half, risk_coverage, risk_curve, rmsle

ERROR = np.array([0.1, -0.4, 0.2])
IDS = np.array(["a", "b", "c"])


def test_male_and_rmsle_of_a_hand_computed_case() -> None:
    assert male(ERROR) == pytest.approx(0.7 / 3)
    assert rmsle(ERROR) == pytest.approx(np.sqrt(0.21 / 3))


def test_aurc_is_the_mean_of_the_running_male_from_the_most_qualified_on() -> None:
    qualification = np.array([0.2, 0.9, 0.5])  # b, c, a
    assert risk_coverage(ERROR, qualification, IDS) == pytest.approx([0.4, 0.3, 0.7 / 3])
    assert aurc(risk_coverage(ERROR, qualification, IDS)) == pytest.approx((0.4 + 0.3 + 0.7 / 3) / 3)
    assert male_of_top_half(risk_coverage(ERROR, qualification, IDS)) == pytest.approx(0.3)  # two of three


def test_the_curve_is_read_at_every_twentieth_of_the_items() -> None:
    error, ids = np.arange(1.0, 41.0), np.arange(40)
    curve = risk_curve(risk_coverage(error, -error, ids))  # the least error first: the mean of 1 ... k is (k + 1) / 2
    assert curve == pytest.approx([(2 * k + 1) / 2 for k in range(1, 21)])
    assert risk_curve(risk_coverage(ERROR, np.array([0.2, 0.9, 0.5]), IDS))[:7] == pytest.approx([0.4] * 6 + [0.3])
    assert risk_curve(risk_coverage(error[:20], -error[:20], ids[:20])) == pytest.approx(
        [(k + 1) / 2 for k in range(1, 21)]
    )
    assert risk_curve(risk_coverage(np.empty(0), np.empty(0), np.empty(0))) == []


def test_ties_are_ordered_by_listing_id() -> None:
    shuffled = [2, 0, 1]
    same = np.full(3, 0.5)
    assert risk_coverage(ERROR[shuffled], same, IDS[shuffled]) == pytest.approx([0.1, 0.25, 0.7 / 3])
