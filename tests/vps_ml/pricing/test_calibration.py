import numpy as np
import pytest

from vps_ml.pricing.calibration import Calibration, Judgement, calibrated, logit_shift, price_range


def test_qualification_is_one_half_at_the_calibrated_cut() -> None:
    judged = Judgement(np.zeros(2), np.array([1.5, 0.2]), np.ones(2))
    assert Calibration(1.5, 0.0, 0.0).qualification(judged).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(1.3))])


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
    """(judgements, true log prices, kinds): kind 1 scatters four times as much, and the model expects it."""
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
