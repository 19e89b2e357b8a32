from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vps_ml import pricing
from vps_ml.features import fit_feature_map, statistics_matrix
from vps_ml.folds import fold_of_group
from vps_ml.recipes import demo, paper
from vps_ml.store import artefact, card, identity

QUICK = replace(
    demo().pricing, hidden=(32, 16), epochs=(6, 3, 12, 6), learning_rates=(5e-3, 2e-3), dropout=0.1, folds=3
)


def world(rows: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of the items are priced by feature 0 alone, the other half are noise; feature 1 tells which."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    clear = x[:, 1] > 0
    y = np.where(clear, 2.0 * x[:, 0], 2.0 * x[:, 0] + rng.normal(0, 2, rows))
    return x, y, clear


def test_the_four_phases_are_the_papers() -> None:
    told = [(p.epochs, p.learning_rate, p.warming_up) for p in pricing.phases(paper().pricing, warm_up=True)]
    assert told == [(1700, 5e-4, True), (850, 2e-4, True), (3400, 5e-4, False), (1700, 2e-4, False)]


def test_without_warm_up_stage_2_runs_for_as_many_epochs_in_all() -> None:
    phases = pricing.phases(paper().pricing, warm_up=False)
    assert sum(p.epochs for p in phases) == 7650
    assert not any(p.warming_up for p in phases)


def test_a_batch_is_never_larger_than_its_size() -> None:
    parts = list(pricing.batches(1000, 256, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [250, 250, 250, 250]
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))


@pytest.mark.parametrize("train", ["paper", "cross_fitted"])
def test_the_gate_accepts_items_that_can_be_priced(train: str) -> None:
    x, y, clear = world()
    objective = pricing.constraint_objective("percentile", 0.5, QUICK, 2.0)
    if train == "paper":
        inputs = pricing.on_device(x), pricing.on_device(y)
        _, gate = pricing.train_jointly(*inputs, objective, QUICK, warm_up=True, seed=0)
    else:
        folds = pricing.train_folds(x, y, np.arange(len(y)), QUICK, 0)
        squared = pricing.on_device(np.square(folds.residual))
        gate = pricing.train_gate(pricing.on_device(x), squared, objective, QUICK, 0)
    fresh, _, fresh_clear = world(2000, seed=1)
    accepted = pricing.output(gate, fresh) >= 0
    assert 0.3 < accepted.mean() < 0.75
    assert fresh_clear[accepted].mean() > 0.7


def test_threshold_coverage_rises_with_the_tolerance() -> None:
    x, y, _ = world()
    folds = pricing.train_folds(x, y, np.arange(len(y)), QUICK, 0)
    coverage = []
    for tolerance in (0.3, 1.5):
        objective = pricing.constraint_objective("threshold", tolerance, QUICK, 2.0)
        squared = pricing.on_device(np.square(folds.residual))
        gate = pricing.train_gate(pricing.on_device(x), squared, objective, QUICK, 0)
        coverage.append(float((pricing.output(gate, x) >= 0).mean()))
    assert coverage[0] < coverage[1]


def test_out_of_fold_errors_come_from_networks_that_never_saw_the_group() -> None:
    """A price that only memory can know: in-sample errors would be far smaller than out-of-fold ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40)).astype(np.float32)
    group = np.repeat(np.arange(30), 4)
    x = x[group * 4]  # the four items of a group look alike
    y = rng.normal(size=30)[group]  # and share a price that nothing else tells
    recipe = replace(QUICK, epochs=(60, 30, 1, 1), dropout=0.0)
    folds = pricing.train_folds(x, y, group, recipe, 0)
    in_sample = np.abs(y - pricing.PricingModel(folds.networks, folds.networks[0]).log_price(x)).mean()
    assert np.abs(folds.residual).mean() > 2 * in_sample


def test_folds_keep_groups_together_and_are_even() -> None:
    group = np.repeat(np.arange(50), 3)
    fold = fold_of_group(group, 5, 0)
    assert all(len(set(fold[group == g])) == 1 for g in range(50))
    assert np.bincount(fold).tolist() == [30] * 5


def test_a_saved_model_predicts_the_same(tmp_path: Path) -> None:
    networks = [pricing.PriceNetwork(6, (8, 4), 0.1).eval() for _ in range(3)]
    model = pricing.PricingModel(networks[:2], networks[2], 0.3, (-0.1, 0.2))
    again = pricing.model_from_state(pricing.model_state(model), 0.3, (-0.1, 0.2))
    x = world(20)[0]
    assert np.array_equal(model.log_price(x), again.log_price(x))
    assert np.array_equal(model.qualification(x), again.qualification(x))


def test_qualification_is_one_half_at_the_calibrated_cut() -> None:
    model = pricing.PricingModel([], pricing.PriceNetwork(6, (8,), 0.0).eval())
    x = world(1)[0]
    shifted = replace(model, logit_shift=float(model.gate_logit(x)[0]))
    assert shifted.qualification(x)[0] == pytest.approx(0.5)


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate() -> None:
    x, y, _ = world(50)
    y[0] = np.inf
    with pytest.raises(FloatingPointError, match="epoch 1 at learning rate"):
        pricing.train_regressor(pricing.on_device(x), pricing.on_device(y), QUICK, 0)


def test_the_paper_recipe_starts_and_runs_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,204 features, the paper's epochs and batch; only the rows are few."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8204)).astype(np.float32), rng.normal(size=64)
    losses: list[float] = []
    real = pricing.step

    class EnoughSeen(Exception):
        """Five steps have been made."""

    def counted(optimizer: torch.optim.Optimizer, loss: torch.Tensor, epoch: int, phase: pricing.Phase) -> None:
        real(optimizer, loss, epoch, phase)
        losses.append(loss.item())
        if len(losses) == 5:
            raise EnoughSeen

    monkeypatch.setattr(pricing, "step", counted)
    recipe = paper().pricing
    objective = pricing.constraint_objective("percentile", 0.5, recipe, 1.0)
    with pytest.raises(EnoughSeen):
        pricing.train_jointly(pricing.on_device(x), pricing.on_device(y), objective, recipe, True, 0)
    assert losses[-1] < losses[0]


def test_a_missing_statistic_enters_as_the_training_mean() -> None:
    rng = np.random.default_rng(0)
    prices = np.exp(rng.normal(size=(50, 12)))
    sales = rng.integers(0, 9, (50, 3)).astype(float)
    raw = statistics_matrix(prices, sales)
    fitted = fit_feature_map(rng.normal(size=(50, 20)).astype(np.float16), raw, 5, 0)
    missing = statistics_matrix(np.full((1, 12), np.nan), np.zeros((1, 3)))
    row = fitted.matrix(np.zeros((1, 20), dtype=np.float16), missing)[0]
    assert row.shape == (5 + 15,)
    assert row[5:17].tolist() == [0.0] * 12


def test_the_paper_sees_twelve_statistics() -> None:
    assert statistics_matrix(np.ones((2, 12)), None).shape == (2, 12)


def test_an_artefact_is_made_once_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    calls = []

    def make(folder: Path) -> dict:
        calls.append(folder)
        (folder / "weights").write_text("w")
        if len(calls) == 1:
            raise RuntimeError("killed")
        return {"kind": "test"}

    with pytest.raises(RuntimeError):
        artefact(tmp_path, "abc", make)
    assert list(tmp_path.iterdir()) == []
    assert artefact(tmp_path, "abc", make) == artefact(tmp_path, "abc", make)
    assert len(calls) == 2
    assert card(tmp_path / "abc") == {"kind": "test"}


def test_an_identity_tells_different_parts_apart() -> None:
    assert identity("a", 1) == identity("a", 1)
    assert identity("a", 1) != identity("a", 2)
