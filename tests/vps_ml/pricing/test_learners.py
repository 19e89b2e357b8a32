from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest
import torch
from worlds import QUICK, Killed, examples, fold_networks, jointly, quiet, rows, world

from vps_ml import training_loop
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.features.tabular import ERRORS
from vps_ml.pricing.learners import FoldNetworks, constraint_objective, gate, regressor, train_alone, train_folds
from vps_ml.pricing.networks import Examples, PriceNetwork, mean_output, output
from vps_ml.recipes import PricingRecipe
from vps_ml.threads import NotWantedError
from vps_ml.training_loop import Checkpoint, Loop, Session, Step


def trained_gate(
    x: np.ndarray, folds: FoldNetworks, kind: str, value: float, recipe: PricingRecipe = QUICK
) -> PriceNetwork:
    errors = examples(x, np.square(folds.residual))
    learner = gate(errors, constraint_objective(kind, value, recipe, 2.0), recipe)
    return train_alone(learner, errors, errors, recipe, 0, Session(quiet))


@pytest.mark.parametrize("train", ["paper", "cross_fitted", "cross_fitted, sigmoid"])
def test_the_gate_accepts_items_that_can_be_priced(train: str) -> None:
    x, y, clear = world()
    if train == "paper":
        _, accept = jointly(x, y, Session(quiet))
    else:
        recipe = replace(QUICK, surrogate="sigmoid" if "sigmoid" in train else "straight_through")
        accept = trained_gate(x, fold_networks(x, y, np.arange(len(y))), "percentile", 0.5, recipe)
    fresh, _, fresh_clear = world(2000, seed=1)
    accepted = output(accept, fresh) >= 0
    assert 0.3 < accepted.mean() < 0.75
    assert fresh_clear[accepted].mean() > 0.7


def test_threshold_coverage_rises_with_the_tolerance() -> None:
    x, y, _ = world()
    folds = fold_networks(x, y, np.arange(len(y)))
    coverage = [(output(trained_gate(x, folds, "threshold", e), x) >= 0).mean() for e in (0.3, 1.5)]
    assert coverage[0] < coverage[1]


def test_nothing_that_is_hidden_moves_what_is_learnt_from_the_rest() -> None:
    """The second column tells which prices are exact: a gate that may not see it cannot, and its weights stay zero."""
    x, y, clear = world()
    folds = fold_networks(x, y, np.arange(len(y)))
    matrix = replace(FeatureMatrix.of(x), hidden={ERRORS: [1]})
    errors = Examples.of(matrix.rows(np.arange(len(x))), np.square(folds.residual))
    learner = gate(errors, constraint_objective("percentile", 0.5, QUICK, 2.0), QUICK)
    accept = train_alone(learner, errors, errors, QUICK, 0, Session(quiet))
    elsewhere = x + np.eye(6, dtype=np.float32)[1] * 5
    assert (output(accept, elsewhere) == output(accept, x)).all()
    assert (accept.layers[0].weight[:, 1] == 0).all()
    accepted = output(accept, x) >= 0
    assert abs(clear[accepted].mean() - clear.mean()) < 0.15
    seen = trained_gate(x, folds, "percentile", 0.5)
    assert (output(seen, elsewhere) != output(seen, x)).any()


def test_the_expected_error_is_larger_where_the_noise_is() -> None:
    x, y, clear = world()
    scale = fold_networks(x, y, np.arange(len(y))).scale
    expected = np.exp(output(scale, x))
    assert expected[~clear].mean() > 1.5 * expected[clear].mean()


def test_out_of_fold_errors_come_from_networks_that_never_saw_the_group() -> None:
    """A price that only memory can give: in-sample errors would be far smaller than out-of-fold ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40)).astype(np.float32)
    group = np.repeat(np.arange(30), 4)
    x = x[group * 4]  # the four items of a group look alike
    y = rng.normal(size=30)[group]  # and share a price that depends on nothing else
    recipe = replace(QUICK, epochs=(60, 30, 1, 1), dropout=0.0, patience=None)
    folds = fold_networks(x, y, group, recipe)
    in_sample = np.abs(y - mean_output(folds.networks, x)).mean()
    assert np.abs(folds.residual).mean() > 2 * in_sample


def test_the_same_seed_gives_the_same_networks_and_another_seed_others() -> None:
    x, y, _ = world(200)
    again = [train_folds((rows(x), y), (rows(x), y), np.arange(200), QUICK, seed, Session(quiet)) for seed in (0, 0, 1)]
    assert np.array_equal(again[0].residual, again[1].residual)
    assert not np.array_equal(again[0].residual, again[2].residual)


def test_small_networks_learn_side_by_side_as_if_each_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    x, y, _ = world(200)
    real, both, met = training_loop.one_epoch, Barrier(2), set[str]()

    def together(loop: Loop, epoch: int, step: Step) -> float:
        if loop.name in ("fold 1 of 3", "fold 2 of 3") and loop.name not in met:
            met.add(loop.name)
            both.wait(timeout=20)
        return real(loop, epoch, step)

    def folds(session: Session) -> FoldNetworks:
        return train_folds((rows(x), y), (rows(x), y), np.arange(200), QUICK, 0, session)

    with monkeypatch.context() as patched:
        patched.setattr(training_loop, "one_epoch", together)
        side_by_side = folds(beside := Session(quiet))
    assert met == {"fold 1 of 3", "fold 2 of 3"}
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    alone = folds(by_itself := Session(quiet))
    assert list(beside.curves) == list(by_itself.curves) and beside.curves == by_itself.curves
    assert np.array_equal(side_by_side.residual, alone.residual)
    for one, other in zip(side_by_side.networks, alone.networks, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_networks_whose_steps_are_large_learn_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(training_loop, "WORTH_SHARING", 1)
    x, y, _ = world(60)
    real, seen = training_loop.one_epoch, list[str]()

    def noted(loop: Loop, epoch: int, step: Step) -> float:
        seen.append(loop.name)
        return real(loop, epoch, step)

    monkeypatch.setattr(training_loop, "one_epoch", noted)
    train_folds((rows(x), y), (rows(x), y), np.arange(60), QUICK, 0, Session(quiet))
    assert seen == sorted(seen, key=["fold 1 of 3", "fold 2 of 3", "fold 3 of 3", "expected error"].index)


def test_a_network_that_is_not_wanted_any_more_ends_at_its_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = world(60)
    prices, stop, real, taken = examples(x, y), Event(), Step.__call__, list[int]()

    def step(step: Step, rows: torch.Tensor) -> torch.Tensor:
        loss = real(step, rows)
        taken.append(len(rows))
        if len(taken) == 3:
            stop.set()
        return loss

    monkeypatch.setattr(Step, "__call__", step)
    learner = replace(regressor("f_reg", prices, QUICK), recordable=False)
    with pytest.raises(NotWantedError):
        train_alone(learner, prices, prices, QUICK, 0, Session(quiet, not_wanted=stop))
    assert len(taken) == 3


def test_a_cross_fitting_that_goes_on_from_its_checkpoints_ends_with_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the second of three folds; phases end early, so that what has to be kept of that shows."""
    x, y, _ = world(300)
    recipe = replace(QUICK, epochs=(30, 15, 3, 3), dropout=0.1, weight_decay=0.0, patience=3)

    def folds(session: Session) -> FoldNetworks:
        unseen, prices = world(100, seed=9)[:2]
        return train_folds((rows(x), y), (rows(unseen), prices), np.arange(300), recipe, 0, session)

    real, seen = training_loop.one_epoch, []

    def counted(loop: Loop, epoch: int, step: Step) -> float:
        mean = real(loop, epoch, step)
        seen.append(loop.name)
        if broken_off and seen.count("fold 2 of 3") == 12:
            raise Killed
        return mean

    monkeypatch.setattr(training_loop, "one_epoch", counted)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    broken_off = False
    unbroken = folds(Session(quiet))
    epochs = {name: seen.count(name) for name in seen}
    assert 12 < epochs["fold 2 of 3"] < 2 * 45, "the phases of this fold should end early, and not before the kill"
    broken_off = True
    seen.clear()
    with pytest.raises(Killed):
        folds(Session(quiet, tmp_path))
    broken_off = False
    resumed = folds(Session(quiet, tmp_path))
    again = {name: seen.count(name) - epochs[name] for name in epochs}
    assert again.pop("fold 2 of 3") == 1
    assert set(again.values()) <= {0, 1}, "what ended a phase beside it has no checkpoint of that epoch"
    assert np.array_equal(resumed.residual, unbroken.residual)
    ours, theirs = ([*made.networks, made.scale] for made in (resumed, unbroken))
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
