from threading import Event
from unittest.mock import Mock

import lightgbm
import numpy as np
import pytest

from vps_ml.pricing import trees
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.trees import (
    fit_error_trees,
    fit_fold_trees,
    trees_error,
    trees_of,
    trees_price,
    trees_text,
)
from vps_ml.threads import NotWantedError


def noisy_world(rows: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, prices, whose price scatters): feature 0 is the price, but for half of the items."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    noisy = x[:, 1] > 0
    return x, x[:, 0] + np.where(noisy, rng.normal(0, 2, rows), 0.0), noisy


def test_trees_expect_more_error_where_prices_scatter() -> None:
    x, y, noisy = noisy_world()
    train, held_out = (x[:600], y[:600]), (x[600:], y[600:])
    folds = fit_fold_trees(train, held_out, np.arange(600), 3, 0)
    error = fit_error_trees((x[:600], folds.residual), (x[600:], folds.held_out_residual), 0)
    expected = trees_error(error, x)
    assert expected[noisy].mean() > 2 * expected[~noisy].mean()
    assert (expected > 0).all()


@pytest.mark.parametrize(("large_bytes", "threads", "together"), [(1 << 27, {1}, True), (1, {2}, False)])
def test_boosters_of_few_numbers_are_fitted_side_by_side_and_larger_ones_by_all_threads_with_the_same_trees(
    monkeypatch: pytest.MonkeyPatch, large_bytes: int, threads: set[int], together: bool
) -> None:
    x, y, _ = noisy_world(400)
    given, once = ((x[:300], y[:300]), (x[300:], y[300:]), np.arange(300), 3, 0), set[object]()
    usual = fit_fold_trees(*given)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(trees, "LARGE_BYTES", large_bytes)
    fit = lightgbm.train
    monkeypatch.setattr(
        lightgbm, "train", lambda how, *rest, **more: once.add(how["num_threads"]) or fit(how, *rest, **more)
    )
    beside = Mock(wraps=trees.side_by_side)
    monkeypatch.setattr(trees, "side_by_side", beside)
    made = fit_fold_trees(*given)
    assert once == threads and beside.called == together
    assert (made.residual == usual.residual).all() and (made.held_out_residual == usual.held_out_residual).all()
    error = fit_error_trees((x[:300], made.residual), given[1], 0)
    assert once == threads
    assert (trees_error(error, x) == trees_error(fit_error_trees((x[:300], usual.residual), given[1], 0), x)).all()


def test_a_booster_that_is_not_wanted_any_more_ends_after_a_round() -> None:
    x, y, _ = noisy_world(400)
    not_wanted = Event()
    not_wanted.set()
    with pytest.raises(NotWantedError):
        trees.fit_booster((x, y), (x, y), trees.PRICE, 0, 1, not_wanted)


def test_a_fold_is_priced_by_the_booster_that_did_not_see_it_and_new_items_by_all() -> None:
    x, y, _ = noisy_world(400)
    group = np.arange(300) // 2
    folds = fit_fold_trees((x[:300], y[:300]), (x[300:], y[300:]), group, 3, 0)
    fold = fold_of_group(group, 3, 0)
    for k, booster in enumerate(folds.boosters):
        assert folds.residual[fold == k] == pytest.approx(
            y[:300][fold == k] - trees_price([booster], x[:300][fold == k])
        )
    each = [trees_price([booster], x[300:]) for booster in folds.boosters]
    assert folds.held_out_residual == pytest.approx(y[300:] - np.mean(each, axis=0))
    assert trees_of(trees_text(folds.boosters)) == folds.boosters
