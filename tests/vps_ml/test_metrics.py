import numpy as np
import pytest

from vps_ml.evaluation.metrics import aurc, male, male_of_top_half, risk_coverage, risk_curve, rmsle
from vps_ml.pricing.calibration import Judgement, calibrated, logit_shift, price_range

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


def heteroscedastic(rows: int, seed: int) -> tuple[Judgement, np.ndarray, np.ndarray]:
    """(judgements, true log prices, kinds): kind 1 scatters four times as much, and the model knows it."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, rows)
    expected = np.where(kind == 1, 0.8, 0.2)
    judged = Judgement(rng.normal(3, 1, rows), -expected + rng.normal(0, 0.3, rows), expected)
    return judged, judged.log_price + rng.normal(0, 1.25 * expected), kind


def test_the_range_of_accepted_items_covers_its_level_in_all_and_in_each_kind() -> None:
    # 4,000 accepted of each side, 80%: standard error of the difference 0.009; 3 of them is 0.027.
    judged, y, _ = heteroscedastic(8000, 0)
    calibration = calibrated(judged, y, 0.5, 0.8)
    fresh, truth, kind = heteroscedastic(8000, 1)
    low, high = calibration.log_range(fresh)
    accepted = calibration.qualification(fresh) >= 0.5
    within = (low <= truth) & (truth <= high)
    assert accepted.mean() == pytest.approx(0.5, abs=0.03)
    assert within[accepted].mean() == pytest.approx(0.8, abs=0.027)
    for one in (0, 1):
        assert within[accepted & (kind == one)].mean() == pytest.approx(0.8, abs=0.05)


def test_the_range_is_narrow_where_the_model_knows_much() -> None:
    judged, y, kind = heteroscedastic(2000, 0)
    low, high = calibrated(judged, y, 0.5, 0.8).log_range(judged)
    assert (high - low)[kind == 1].mean() == pytest.approx(4 * (high - low)[kind == 0].mean())


def test_the_range_is_calibrated_on_accepted_items_alone() -> None:
    judged = Judgement(np.zeros(40), np.repeat([1.0, -1.0], 20), np.ones(40))
    y = np.concatenate([np.linspace(-0.1, 0.1, 20), np.linspace(-9, 9, 20)])
    calibration = calibrated(judged, y, 0.5, 0.8)
    assert -0.11 < calibration.range_low < 0 < calibration.range_high < 0.11


def test_a_threshold_models_gate_stays_as_trained() -> None:
    judged = Judgement(np.zeros(3), np.array([2.0, 0.0, -0.1]), np.ones(3))
    calibration = calibrated(judged, np.zeros(3), None, 0.8)
    assert (calibration.qualification(judged) >= 0.5).tolist() == [True, True, False]
