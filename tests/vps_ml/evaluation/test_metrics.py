import numpy as np
import pytest

from vps_ml.evaluation.metrics import aurc, male, risk_coverage

ERROR = np.array([0.1, -0.4, 0.2])
IDS = np.array(["a", "b", "c"])


def test_male_of_a_hand_computed_case() -> None:
    assert male(ERROR) == pytest.approx(0.7 / 3)


def test_aurc_is_the_mean_of_the_running_male_from_the_most_qualified_on() -> None:
    qualification = np.array([0.2, 0.9, 0.5])  # b, c, a
    assert risk_coverage(ERROR, qualification, IDS) == pytest.approx([0.4, 0.3, 0.7 / 3])
    assert aurc(risk_coverage(ERROR, qualification, IDS)) == pytest.approx((0.4 + 0.3 + 0.7 / 3) / 3)


def test_ties_are_ordered_by_listing_id() -> None:
    shuffled = [2, 0, 1]
    same = np.full(3, 0.5)
    assert risk_coverage(ERROR[shuffled], same, IDS[shuffled]) == pytest.approx([0.1, 0.25, 0.7 / 3])
