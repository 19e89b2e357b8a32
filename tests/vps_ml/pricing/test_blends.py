"""What stands beside the networks: unseen errors, a joint gate, and a price that is the mean of three."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from worlds import rows

from vps_ml.artefacts import Artefacts
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.pricing import blends, distances
from vps_ml.pricing.blends import (
    Blend,
    Priced,
    Ranks,
    Words,
    fit_kernel_folds,
    predicted,
    rank_by,
)
from vps_ml.pricing.distances import LABELS_WEIGH, STATISTICS_WEIGH, input_scale, seeded_choice
from vps_ml.pricing.expected_errors import LEAST_EXPECTED_ERROR, Comparables
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.kernels import fit_kernel_machine
from vps_ml.pricing.trees import fit_fold_trees, trees_price

COLUMNS = ("category_median", "category=phone")


def feature_map(visual: int = 4) -> FeatureMap:
    scales = np.array([1.0, 0.2])
    return FeatureMap(np.zeros(visual), np.eye(visual), np.zeros(2), scales, COLUMNS)


def world(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Six features, of which the first prices, the more exactly the smaller the second is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    return x, 2 * x[:, 0] + rng.normal(size=count) * np.where(x[:, 1] > 0, 1.5, 0.05)


def test_in_the_kernels_distance_a_rare_label_is_as_far_as_a_common_one() -> None:
    """In the matrix a label's column is 0 or 1 over its standard deviation, which is small for a rare one."""
    x = np.ones((10, 6), dtype=np.float32)
    scale = input_scale(feature_map(), x, PRICES)
    assert np.linalg.norm(x[0, :4] * scale[:4]) == pytest.approx(1)  # visual features of unit mean norm
    assert scale[4] == pytest.approx(STATISTICS_WEIGH)
    assert scale[5] / 0.2 == pytest.approx(LABELS_WEIGH)


def test_a_machine_of_prices_is_blind_to_ratios_and_one_of_errors_to_levels() -> None:
    columns = ("category_median", "category_median_ratio", "category=phone")
    ratios = FeatureMap(np.zeros(4), np.eye(4), np.zeros(3), np.ones(3), columns)
    x = np.ones((10, 7), dtype=np.float32)
    assert input_scale(ratios, x, PRICES)[4:].tolist() == pytest.approx([0.1, 0, 0.5])
    assert input_scale(ratios, x, ERRORS)[4:].tolist() == pytest.approx([0, 0.1, 0.5])


def test_the_errors_of_a_machine_are_of_items_that_it_did_not_see() -> None:
    x, y = world()
    group = np.arange(240) // 2
    folds = fit_kernel_folds(rows(x), y, group, feature_map(), 0)
    fold = fold_of_group(group, blends.FOLDS, 0)
    inside = fold != 2
    without = fit_kernel_machine(x[inside] * folds.scale, y[inside], blends.PRICE, 0)
    expected = y[~inside] - without.predict(x[~inside] * folds.scale)
    assert folds.residual[~inside] == pytest.approx(expected)
    own = np.abs(y - predicted(folds.machine, rows(x), folds.scale)).mean()
    assert np.abs(folds.residual).mean() > own


def test_machines_are_the_same_side_by_side_and_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = world()
    given = rows(x), y, np.arange(240) // 2, feature_map(), 0
    beside = Mock(wraps=blends.side_by_side)
    monkeypatch.setattr(blends, "side_by_side", beside)
    together = fit_kernel_folds(*given)
    assert beside.called
    monkeypatch.setattr(blends, "MOST_EXACT", 239)
    monkeypatch.setattr(blends, "side_by_side", None)
    alone = fit_kernel_folds(*given)
    assert (together.residual == alone.residual).all()
    assert (together.machine.weights == alone.machine.weights).all()


def test_rows_beyond_what_a_machine_is_fitted_on_have_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "MOST_ROWS", 100)
    x, y = world()
    folds = fit_kernel_folds(rows(x), y, np.arange(240), feature_map(), 0)
    others = np.setdiff1d(np.arange(240), seeded_choice(np.arange(240), 0))
    assert len(others) == 140
    chosen = seeded_choice(np.arange(240) // 3, 0)
    assert len(chosen) == 99 and len(set(chosen // 3)) == 33, "whole groups"
    expected = y[others] - predicted(folds.machine, x[others], folds.scale)
    assert folds.residual[others] == pytest.approx(expected, abs=1e-5)


def made_blend(x: np.ndarray, y: np.ndarray) -> Blend:
    folds = fit_kernel_folds(rows(x), y, np.arange(len(x)), feature_map(), 0)
    trees = fit_fold_trees((x, y), (x[:40], y[:40]), np.arange(len(x)), 2, 0)
    error = Comparables.among(rows(x), y, np.arange(len(x)), folds.error_scale, 0)
    return Blend(folds.machine, folds.scale, trees.boosters, error, np.array([0.5, 0.2, 0.3]))


def test_a_blends_price_is_a_mean_of_networks_machine_and_trees_before_and_after_it_is_stored(tmp_path: Path) -> None:
    x, y = world()
    blend, networks = made_blend(x, y), np.linspace(0, 1, 240)
    machine, trees = predicted(blend.kernel, x, blend.scale), trees_price(blend.trees, x)
    expected = 0.5 * networks + 0.2 * machine + 0.3 * trees
    assert blend.price(x, networks) == pytest.approx(expected)
    assert blend.price(rows(x), networks) == pytest.approx(expected, abs=1e-5)
    models = Artefacts(tmp_path).models
    models.make("b", blend.contents)
    stored = Blend.load(models, "b")
    assert stored.price(x, networks) == pytest.approx(expected)
    assert stored.error.expected_error(x, expected) == pytest.approx(blend.error.expected_error(x, expected))


def test_weights_are_those_of_the_least_unseen_error() -> None:
    rng = np.random.default_rng(2)
    good, other = rng.normal(size=(2, 5000))
    assert blends.blend_weights([good, 9 * other, 9 * other]).tolist() == [1, 0, 0]
    assert blends.blend_weights([good, other, 9 * other]) == pytest.approx([0.5, 0.5, 0])  # independent, so both


def test_more_error_is_expected_where_prices_scatter() -> None:
    x, y = world()
    blend = made_blend(x, y)
    expected = blend.error.expected_error(x, blend.price(x, y))
    assert expected[x[:, 1] > 0].mean() > 1.5 * expected[x[:, 1] < 0].mean()
    assert (expected >= LEAST_EXPECTED_ERROR).all()


def test_the_joint_gate_qualifies_as_many_as_f_cls_alone_and_follows_both() -> None:
    rng = np.random.default_rng(1)
    words = Words(rng.normal(0.3, 1, 2000), *rng.uniform(0.1, 2, (2, 2000)))
    ranks = Ranks.among(words, 0.3, 0.25)
    logit = ranks.gate_logit(words)
    assert (logit >= 0).mean() == pytest.approx((words.gate >= 0).mean(), abs=0.01)
    said = [(1.0, 0.5, 0.5), (-1.0, 0.5, 0.5), (1.0, 1.9, 0.5), (1.0, 0.5, 1.9)]
    best, *others = (ranks.gate_logit(Words(*(np.array([value]) for value in values)))[0] for values in said)
    assert best > max(others)


def test_a_gates_words_count_as_much_as_they_are_said_to() -> None:
    steps = np.linspace(0, 1, 101)
    ranks = Ranks.among(Words(steps, 1 - steps, 1 - steps), 0.2, 0.25)
    for said, expected in (((1, 1, 1), 0.6), ((0, 0, 1), 0.2), ((0, 1, 0), 0.2)):
        words = Words(*(np.array([float(value)]) for value in said))
        assert ranks.mean_rank(words) == pytest.approx([expected])


def test_ranks_that_were_stored_before_the_networks_error_had_a_say_go_on_without() -> None:
    steps = np.linspace(0, 1, 101)
    made = Ranks.among(Words(steps, steps, steps), 0.2, 0.0)
    before = {name: value for name, value in vars(made).items() if not name.startswith("own")}
    words = Words(*np.random.default_rng(0).uniform(size=(3, 50)))
    assert Ranks(**before).gate_logit(words) == pytest.approx(made.gate_logit(words))


def test_comparables_have_the_say_on_errors_that_the_kernel_machine_has_on_prices_squared() -> None:
    """None where its prices are not used: then the order is f_cls's own."""
    x, y = world(100)
    assert made_blend(x, y).error_share == pytest.approx(0.04)  # of .2 in the price
    most = replace(made_blend(x, y), weights=np.array([0.1, 0.9, 0.0]))
    assert most.error_share == 0.5, "f_cls, which sees a faulty photo, keeps half"
    rng = np.random.default_rng(2)
    words = Words(rng.normal(size=300), *rng.uniform(0.1, 2, (2, 300)))
    alone = Ranks.among(words, 0.0, 0.0).gate_logit(words)
    assert (np.argsort(alone) == np.argsort(words.gate)).all()


def test_ranks_stay_within_what_was_seen_and_rise() -> None:
    knots = blends.knots_of(np.arange(1000.0))
    found = rank_by(knots, np.array([-5.0, 0.0, 499.5, 999.0, 5000.0]))
    assert found == pytest.approx([0, 0, 0.5, 1, 1])


def test_networks_alone_are_judged_as_they_are_and_blended_ones_between_both_errors() -> None:
    x, y = world(100)
    blend = made_blend(x, y)
    own = Priced(y, np.full(100, 0.4))
    errors = np.linspace(0.1, 1, 100)
    ranks = Ranks.among(Words(np.linspace(-1, 1, 100), errors, errors), 0.3, 0.25)
    judged = blend.priced(x, own).judged(np.zeros(100), ranks)
    expected = blend.error.expected_error(x, judged.log_price)
    assert judged.expected_error == pytest.approx(np.sqrt(0.4 * expected))
