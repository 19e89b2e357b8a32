from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from vps_ml.artefacts import artefact, card, identity
from vps_ml.features.dataset import PricingTable
from vps_ml.features.matrix import FeatureMatrix, MatrixRows
from vps_ml.features.scaling import FeatureMap, VisualMoments, principal_axes, statistic_moments, statistics_matrix
from vps_ml.pricing import learners as training
from vps_ml.pricing import loop
from vps_ml.pricing import networks as pricing
from vps_ml.pricing.calibration import Calibration, Judgement
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.learners import FoldNetworks
from vps_ml.recipes import PricingRecipe, demo, paper

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
    told = [(p.epochs, p.learning_rate, p.warming_up) for p in loop.phases(paper().pricing, 892_414, warm_up=True)]
    assert told == [(1700, 5e-4, True), (850, 2e-4, True), (3400, 5e-4, False), (1700, 2e-4, False)]


def test_without_warm_up_stage_2_runs_for_as_many_epochs_in_all() -> None:
    phases = loop.phases(paper().pricing, 892_414, warm_up=False)
    assert sum(p.epochs for p in phases) == 7650
    assert not any(p.warming_up for p in phases)


def test_a_batch_is_never_larger_than_its_size() -> None:
    parts = list(loop.batches(1000, 256, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [250, 250, 250, 250]
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))


def test_with_many_rows_all_phases_shrink_alike() -> None:
    recipe = replace(demo().pricing, epochs=(16, 8, 32, 16), batch_size=100, most_steps=3600)
    assert [p.epochs for p in loop.phases(recipe, 10_000, warm_up=True)] == [8, 4, 16, 8]
    assert [p.epochs for p in loop.phases(recipe, 5_000, warm_up=True)] == [16, 8, 32, 16]


def test_a_plateau_is_reached_after_so_many_epochs_without_a_lower_loss() -> None:
    plateau = loop.Plateau(patience=2)
    assert [plateau.reached(iter([loss]).__next__) for loss in (3.0, 2.0, 2.0, 1.0, 1.5, 1.0)] == [False] * 5 + [True]
    never = loop.Plateau(patience=None)
    assert not any(never.reached(lambda: 1.0) for _ in range(50))


def quiet(message: str) -> None:
    """Nobody listens."""


def rows(x: np.ndarray) -> MatrixRows:
    """All rows of a matrix that is this array."""
    return FeatureMatrix.of(x).rows(np.arange(len(x)))


def examples(x: np.ndarray, target: np.ndarray) -> loop.Examples:
    return loop.Examples.of(rows(x), target)


def fold_networks(x: np.ndarray, y: np.ndarray, group: np.ndarray, recipe: PricingRecipe = QUICK) -> FoldNetworks:
    unseen, prices = world(100, seed=9)[:2] if x.shape[1] == 6 else (x, y)
    return training.train_folds((rows(x), y), (rows(unseen), prices), group, recipe, 0, loop.Session(quiet))


def trained_gate(
    x: np.ndarray, folds: FoldNetworks, kind: str, value: float, recipe: PricingRecipe = QUICK
) -> pricing.PriceNetwork:
    objective = training.constraint_objective(kind, value, recipe, 2.0)
    errors = examples(x, np.square(folds.residual))
    return training.train_alone(
        training.gate(errors, objective, recipe), errors, errors, recipe, 0, loop.Session(quiet)
    )


def jointly(x: np.ndarray, y: np.ndarray, session: loop.Session) -> tuple[pricing.PriceNetwork, ...]:
    objective = training.constraint_objective("percentile", 0.5, QUICK, 2.0)
    prices = examples(x, y)
    return training.train_jointly(prices, prices, objective, QUICK, True, 0, session)


@pytest.mark.parametrize("train", ["paper", "cross_fitted", "cross_fitted, sigmoid"])
def test_the_gate_accepts_items_that_can_be_priced(train: str) -> None:
    x, y, clear = world()
    if train == "paper":
        _, gate = jointly(x, y, loop.Session(quiet))
    else:
        recipe = replace(QUICK, surrogate="sigmoid" if "sigmoid" in train else "straight_through")
        gate = trained_gate(x, fold_networks(x, y, np.arange(len(y))), "percentile", 0.5, recipe)
    fresh, _, fresh_clear = world(2000, seed=1)
    accepted = pricing.output(gate, fresh) >= 0
    assert 0.3 < accepted.mean() < 0.75
    assert fresh_clear[accepted].mean() > 0.7


def test_threshold_coverage_rises_with_the_tolerance() -> None:
    x, y, _ = world()
    folds = fold_networks(x, y, np.arange(len(y)))
    coverage = [(pricing.output(trained_gate(x, folds, "threshold", e), x) >= 0).mean() for e in (0.3, 1.5)]
    assert coverage[0] < coverage[1]


def test_the_expected_error_is_larger_where_the_noise_is() -> None:
    x, y, clear = world()
    scale = fold_networks(x, y, np.arange(len(y))).scale
    expected = np.exp(pricing.output(scale, x))
    assert expected[~clear].mean() > 1.5 * expected[clear].mean()


def test_out_of_fold_errors_come_from_networks_that_never_saw_the_group() -> None:
    """A price that only memory can know: in-sample errors would be far smaller than out-of-fold ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40)).astype(np.float32)
    group = np.repeat(np.arange(30), 4)
    x = x[group * 4]  # the four items of a group look alike
    y = rng.normal(size=30)[group]  # and share a price that nothing else tells
    recipe = replace(QUICK, epochs=(60, 30, 1, 1), dropout=0.0, patience=None)
    folds = fold_networks(x, y, group, recipe)
    in_sample = np.abs(y - pricing.mean_output(folds.networks, x)).mean()
    assert np.abs(folds.residual).mean() > 2 * in_sample


def test_the_same_seed_gives_the_same_networks_and_another_seed_others() -> None:
    x, y, _ = world(200)
    again = [
        training.train_folds((rows(x), y), (rows(x), y), np.arange(200), QUICK, s, loop.Session(quiet))
        for s in (0, 0, 1)
    ]
    assert np.array_equal(again[0].residual, again[1].residual)
    assert not np.array_equal(again[0].residual, again[2].residual)


class Killed(Exception):
    """The run was broken off here."""


def test_a_cross_fitting_that_goes_on_from_its_checkpoints_ends_with_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the second of three folds; phases end early, so that what has to be kept of that shows."""
    x, y, _ = world(300)
    recipe = replace(QUICK, epochs=(30, 15, 3, 3), dropout=0.0, weight_decay=0.0, patience=3)

    def folds(session: loop.Session) -> FoldNetworks:
        unseen, known = world(100, seed=9)[:2]
        return training.train_folds((rows(x), y), (rows(unseen), known), np.arange(300), recipe, 0, session)

    real, seen = loop.one_epoch, []

    def counted(run: loop.Loop, *rest: object) -> None:
        real(run, *rest)
        seen.append(run.name)
        if broken_off and seen.count("fold 2 of 3") == 12:
            raise Killed

    monkeypatch.setattr(loop, "one_epoch", counted)
    monkeypatch.setattr(loop.Checkpoint, "due", lambda self: True)
    broken_off = False
    unbroken = folds(loop.Session(quiet))
    epochs = {name: seen.count(name) for name in seen}
    assert 12 < epochs["fold 2 of 3"] < 2 * 45, "the phases of this fold should end early, and not before the kill"
    broken_off = True
    seen.clear()
    with pytest.raises(Killed):
        folds(loop.Session(quiet, tmp_path))
    broken_off = False
    resumed = folds(loop.Session(quiet, tmp_path))
    assert {name: seen.count(name) for name in seen} == epochs | {"fold 2 of 3": epochs["fold 2 of 3"] + 1}
    assert np.array_equal(resumed.residual, unbroken.residual)
    ours, theirs = ([*made.networks, made.scale] for made in (resumed, unbroken))
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_validation_loss_that_is_not_finite_stops_the_training() -> None:
    x, y, _ = world(60)
    prices, bad = examples(x, y), examples(x, np.full(60, np.nan))
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1"):
        training.train_alone(training.regressor("f_reg", prices, QUICK), prices, bad, QUICK, 0, loop.Session(quiet))


@pytest.mark.parametrize("broken_off_in", [1, 3])
def test_a_training_that_goes_on_from_its_checkpoint_ends_with_the_same_weights(
    broken_off_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in stage 1 or 2, in the middle of an epoch, after checkpoints of every epoch before."""
    x, y, _ = world()
    unbroken = jointly(x, y, loop.Session(quiet))
    real = loop.one_epoch
    phases = loop.phases(QUICK, len(x), warm_up=True)
    seen = []

    def killed_at(run: loop.Loop, phase: loop.Phase, epoch: int, *rest: object) -> None:
        real(run, phase, epoch, *rest)
        seen.append(epoch)
        if phase == phases[broken_off_in] and epoch == 2:
            raise Killed

    monkeypatch.setattr(loop, "one_epoch", killed_at)
    monkeypatch.setattr(loop.Checkpoint, "due", lambda self: True)
    session = loop.Session(quiet, tmp_path)
    with pytest.raises(Killed):
        jointly(x, y, session)
    broken_off_after = len(seen)
    torch.manual_seed(99)  # another process
    monkeypatch.setattr(loop, "one_epoch", lambda *a: (seen.append(a[2]), real(*a)))
    resumed = jointly(x, y, session)
    assert len(seen) == sum(p.epochs for p in phases) + 1  # only the epoch of the kill ran twice
    assert broken_off_after > 2
    for one, other in zip(unbroken, resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_folds_keep_groups_together_and_are_even() -> None:
    group = np.repeat(np.arange(50), 3)
    fold = fold_of_group(group, 5, 0)
    assert all(len(set(fold[group == g])) == 1 for g in range(50))
    assert np.bincount(fold).tolist() == [30] * 5


def test_a_saved_model_judges_the_same() -> None:
    networks = [pricing.PriceNetwork(16, (8, 4), 0.1).eval() for _ in range(4)]  # as wide as a matrix of 6 is padded
    model = pricing.PricingModel(networks[:2], networks[2], networks[3])
    again = pricing.model_from_state(pricing.model_state(model))
    x = world(20)[0]
    for name in ("log_price", "gate_logit", "expected_error"):
        assert np.array_equal(getattr(model.judge(x), name), getattr(again.judge(x), name))


def test_qualification_is_one_half_at_the_calibrated_cut() -> None:
    judged = Judgement(np.zeros(2), np.array([1.5, 0.2]), np.ones(2))
    assert Calibration(1.5, 0.0, 0.0).qualification(judged).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(1.3))])


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate() -> None:
    x, y, _ = world(50)
    y[0] = np.nan
    with pytest.raises(FloatingPointError, match="fold 1 of 3: the loss is nan in epoch 1 at learning rate 0.005"):
        fold_networks(x, y, np.repeat(0, 50), replace(QUICK, huber_at=None))


def test_the_paper_recipe_starts_and_runs_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,204 features, the paper's epochs and batch; only the rows are few."""
    rng = np.random.default_rng(0)
    prices = examples(rng.normal(size=(64, 8204)).astype(np.float32), rng.normal(size=64))
    losses: list[float] = []
    real = loop.one_epoch

    def counted(run: loop.Loop, phase: loop.Phase, epoch: int, *rest: object) -> None:
        losses.append(run.loss(torch.arange(64), phase).item())
        if len(losses) == 5:
            raise Killed
        real(run, phase, epoch, *rest)

    monkeypatch.setattr(loop, "one_epoch", counted)
    recipe = paper().pricing
    objective = training.constraint_objective("percentile", 0.5, recipe, 1.0)
    with pytest.raises(Killed):
        training.train_jointly(prices, prices, objective, recipe, True, 0, loop.Session(quiet))
    assert losses[-1] < losses[0]


def test_a_missing_statistic_enters_as_the_training_mean() -> None:
    rng = np.random.default_rng(0)
    prices = np.exp(rng.normal(size=(50, 12)))
    sales = rng.integers(0, 9, (50, 3)).astype(float)
    raw = statistics_matrix(prices, sales)
    visual = rng.normal(size=(50, 20)).astype(np.float16)
    fitted = FeatureMap(*principal_axes(visual, 5, 0), *statistic_moments(raw))
    missing = statistics_matrix(np.full((1, 12), np.nan), np.zeros((1, 3)))
    row = fitted.matrix(np.zeros((1, 20), dtype=np.float16), missing)[0]
    assert row.shape == (5 + 15,)
    assert row[5:17].tolist() == [0.0] * 12


def pricing_table(folder: Path, items: list[tuple[str, str, str]]) -> PricingTable:
    """A table of (group, photo, role in the split by time)."""
    columns = {"group_key": [g for g, _, _ in items], "photo_hash": [p for _, p, _ in items]}
    roles = {f"{split}_role": [role for _, _, role in items] for split in ("time", "group")}
    return PricingTable(pl.DataFrame(columns | roles | {"tasks": [["category"]] * len(items)}), demo(), folder)


def test_a_kept_model_is_not_tested_on_items_and_photos_that_it_knows(tmp_path: Path) -> None:
    then = pricing_table(tmp_path, [("g1", "p1", "train"), ("g2", "p2", "validation"), ("g3", "p3", "test")])
    about = {"roles_id": then.roles_id(), "embedding_id": "e"}
    artefact(tmp_path / "embeddings", "e", lambda folder: {"backbones": {"category": "models/b"}})
    learnt = pl.DataFrame({"group_key": ["g6"], "photo_hash": ["p6"]})
    artefact(tmp_path / "models", "b", lambda folder: learnt.write_parquet(folder / "learnt.parquet") or {})
    items = [
        ("g1", "p9", "test"),  # of a group that trained
        ("g8", "p2", "test"),  # with a photo that calibrated
        ("g3", "p3", "test"),
        ("g4", "p4", "test"),
        ("g6", "p7", "test"),  # of a group that a backbone learnt
        ("g5", "p5", "train"),
    ]
    now = pricing_table(tmp_path, items)
    assert now.unseen_test("time", [about]).tolist() == [2, 3]
    assert now.unseen_test("time", []).tolist() == [0, 1, 2, 3, 4]


def visual_blocks(visual: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows as two files would bring them, the later rows first."""
    odd, even = (np.arange(start, len(visual), 2) for start in (1, 0))
    return [(odd, visual[odd]), (even, visual[even])]


@pytest.mark.parametrize("reduced", [None, 5])
def test_a_matrix_assembled_block_by_block_is_that_of_all_rows_at_once(tmp_path: Path, reduced: int | None) -> None:
    rng = np.random.default_rng(0)
    visual, statistics = rng.normal(3, 2, (40, 12)).astype(np.float16), rng.normal(size=(40, 15))
    moments = VisualMoments.of(block for _, block in visual_blocks(visual))
    seen = principal_axes(visual, reduced, 0) if reduced else (moments.mean, moments.scale)
    fitted = FeatureMap(*seen, *statistic_moments(statistics))
    matrix = FeatureMatrix.assembled(fitted, visual_blocks(visual), statistics, tmp_path)
    numbers = np.array([7, 0, 33])
    expected = fitted.matrix(visual, statistics)[numbers]
    assert matrix.rows(numbers).array() == pytest.approx(expected, abs=1e-6 if reduced else 2e-3)
    assert matrix.rows(numbers).where(np.array([True, False, True])).array() == pytest.approx(
        expected[[0, 2]], abs=2e-3
    )
    assert list(tmp_path.iterdir()) == []  # the scratch file has no name


def test_moments_of_blocks_are_those_of_all_rows() -> None:
    visual = np.random.default_rng(0).normal(3, 2, (40, 12)).astype(np.float16)
    moments = VisualMoments.of([visual[:1], visual[1:15], visual[15:]])
    assert moments.mean == pytest.approx(visual.astype(np.float64).mean(axis=0), rel=1e-6)
    assert moments.scale == pytest.approx(1 / visual.astype(np.float64).std(axis=0), rel=1e-5)


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
