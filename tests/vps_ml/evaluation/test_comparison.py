import numpy as np
import pytest

from vps_ml.evaluation import resampling
from vps_ml.evaluation.comparison import CHANCE, chance_of, resampled_differences
from vps_ml.evaluation.resampling import Judged


def looks_better(shift: float, seed: int, looks: int = 1, listings: int = 300) -> bool:
    """Whether a model looks better than one that is worse by `shift`, at some look at more listings each time."""
    rng = np.random.default_rng(seed)
    worse, better = np.abs(rng.normal(size=(2, listings * looks))) + 0.2
    q = rng.random((2, listings * looks))
    for look in range(1, looks + 1):
        n = listings * look
        first, second = Judged(worse[:n] + shift, q[0, :n]), Judged(better[:n], q[1, :n])
        differences = resampled_differences(first, second, np.arange(n) // 2, 0.7)
        if np.quantile(differences, 1 - chance_of(look)) < 0:
            return True
    return False


def test_noise_alone_hardly_ever_looks_better() -> None:
    promoted = np.mean([looks_better(0.0, seed) for seed in range(100)])
    assert promoted <= 0.05  # 2.5% by design


def test_noise_does_not_get_in_by_being_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "RESAMPLES", 300)
    promoted = np.mean([looks_better(0.0, seed, looks=6, listings=40) for seed in range(100)])
    assert promoted <= 0.08  # under 5% by design; at 5% each time it was 20%


def test_all_looks_together_spend_the_chance_that_is_set() -> None:
    assert chance_of(1) == CHANCE / 2
    assert sum(map(chance_of, range(1, 10_000))) == pytest.approx(CHANCE, rel=1e-3)


def test_a_clear_difference_is_found() -> None:
    assert all(looks_better(0.3, seed) for seed in range(10))


def test_listings_of_one_item_are_drawn_together() -> None:
    """Copies of the same listings are no more evidence than one of each."""
    rng = np.random.default_rng(1)
    models = [*map(Judged, np.abs(rng.normal(size=(2, 100))), rng.random((2, 100)))]
    once = resampled_differences(*models, np.arange(100), 1.0).std()
    fourfold = [Judged(np.tile(model.log_error, 4), np.tile(model.qualification, 4)) for model in models]
    copied = resampled_differences(*fourfold, np.tile(np.arange(100), 4), 1.0)
    assert copied.std() == pytest.approx(once, rel=0.05)
