import numpy as np
import pytest

from vps_ml.champions import CONFIDENCE, male_at, resampled_differences


def test_the_error_at_a_coverage_is_that_of_the_most_qualified_items() -> None:
    error, qualification = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.1, 0.9, 0.8, 0.2])
    assert male_at(error, qualification, np.ones((1, 4)), 0.5)[0] == pytest.approx(3.0)
    assert male_at(error, qualification, np.ones((1, 4)), 1.0)[0] == pytest.approx(error.mean())


def test_the_last_item_counts_with_the_part_of_it_that_the_coverage_needs() -> None:
    error, qualification = np.array([1.0, 4.0]), np.array([0.9, 0.1])
    assert male_at(error, qualification, np.ones((1, 2)), 0.75)[0] == pytest.approx((1.0 + 0.5 * 4.0) / 1.5)


def test_an_item_that_is_drawn_twice_counts_twice() -> None:
    rng = np.random.default_rng(0)
    error, qualification = rng.random(30), rng.random(30)
    drawn = rng.integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), drawn)
    slow = male_at(error[repeated], qualification[repeated], np.ones((1, len(repeated))), 0.6)
    assert male_at(error, qualification, drawn[None].astype(float), 0.6) == pytest.approx(slow)


def shifted(shift: float, seed: int) -> float:
    """The bound of the difference between a model and one that is worse by `shift`, of 300 listings in pairs."""
    rng = np.random.default_rng(seed)
    worse, better = np.abs(rng.normal(size=(2, 300))) + 0.2
    q = rng.random((2, 300))
    differences = resampled_differences([worse + shift, better], list(q), np.arange(300) // 2, 0.7)
    return float(np.quantile(differences, CONFIDENCE))


def test_noise_alone_hardly_ever_looks_better() -> None:
    promoted = np.mean([shifted(0.0, seed) < 0 for seed in range(100)])
    assert promoted <= 0.12  # 5% by design; three standard errors above it


def test_a_clear_difference_is_told() -> None:
    assert all(shifted(0.3, seed) < 0 for seed in range(10))


def test_listings_of_one_item_are_drawn_together() -> None:
    """Copies of the same listings are no more evidence than one of each."""
    rng = np.random.default_rng(1)
    errors, q = list(np.abs(rng.normal(size=(2, 100)))), list(rng.random((2, 100)))
    once = resampled_differences(errors, q, np.arange(100), 1.0).std()
    copied = resampled_differences(
        [np.tile(e, 4) for e in errors], [np.tile(v, 4) for v in q], np.tile(np.arange(100), 4), 1.0
    )
    assert copied.std() == pytest.approx(once, rel=0.05)
