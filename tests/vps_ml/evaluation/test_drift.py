import numpy as np
import pytest

from vps_ml.evaluation.drift import mean_shift, population_stability


def test_the_index_is_that_of_a_hand_computed_case() -> None:
    """Two bins at the median: 50/50 before, 25/75 now; half a count in each bin is lost in 100,000 rows."""
    before, now = np.tile([0.0, 1.0], 100_000), np.repeat([0.0, 1.0], [50_000, 150_000])
    expected = (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    assert population_stability(before, now).size == pytest.approx(expected, rel=1e-3)


def test_unchanged_prices_are_below_what_chance_reaches_in_nearly_every_draw() -> None:
    rng = np.random.default_rng(0)
    drifts = [population_stability(rng.normal(size=400), rng.normal(size=60)) for _ in range(300)]
    assert np.mean([drift.beyond(0.0) for drift in drifts]) < 0.02
    assert max(drift.size for drift in drifts) > 0.25  # by custom a shift: thirty-odd rows would cry wolf


def test_prices_that_doubled_are_a_shift() -> None:
    rng = np.random.default_rng(0)
    assert population_stability(rng.normal(size=400), rng.normal(size=60) + np.log(2) * 2).beyond(0.25)


def test_prices_that_are_all_the_same_are_no_shift() -> None:
    assert not population_stability(np.ones(50), np.ones(50)).beyond(0.25)


def test_a_shift_of_the_mean_is_measured_in_spreads() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=(20_000, 4)), rng.normal(size=(20_000, 4)) + [1.0, 0, 0, 0]
    assert mean_shift(before, now).size == pytest.approx(1 / np.sqrt(4), rel=0.05)


@pytest.mark.parametrize("features", [3, 200])
def test_the_mean_of_unchanged_features_is_where_chance_leaves_it(features: int) -> None:
    rng = np.random.default_rng(1)
    scale = np.geomspace(1, 0.01, features)
    drifts = [mean_shift(*(rng.normal(size=(n, features)) * scale for n in (120, 40))) for _ in range(200)]
    assert np.mean([drift.beyond(0.0) for drift in drifts]) < 0.03
    assert np.mean([drift.size for drift in drifts]) > 0.2 * np.mean([drift.by_chance for drift in drifts])
