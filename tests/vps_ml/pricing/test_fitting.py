"""What a blended model's gate learns from."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import photographed_rows, quick_recipe, sold_rows
from worlds import quiet

from vps_ml.artefacts import Artefacts
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.spoilt import training_copies
from vps_ml.pricing import fitting
from vps_ml.pricing.blends import Ranks, Words
from vps_ml.pricing.fitting import OBJECTIVES, Fit, spoilt
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.networks import mean_output, output
from vps_ml.pricing.variants import Variant
from vps_ml.training_loop import Session


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PricingDataset:
    artefacts = Artefacts(tmp_path_factory.mktemp("photographed"))
    return PricingDataset(photographed_rows(artefacts), quick_recipe(), artefacts)


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The examples that gates are trained on."""
    seen, train_alone = [], fitting.train_alone

    def remembering(learner: Any, train: Any, *rest: Any) -> Any:
        if learner.name == "gate":
            seen.append(train)
        return train_alone(learner, train, *rest)

    monkeypatch.setattr(fitting, "train_alone", remembering)
    yield seen


def fit(dataset: PricingDataset, objective: str, kind: str, value: float) -> Fit:
    variant = Variant(objective=objective, constraint_kind=kind, constraint_value=value)
    return Fit(dataset, variant, Session(quiet))


def test_a_copys_error_is_of_the_network_that_did_not_see_its_item_at_the_scale_of_the_served_price(
    dataset: PricingDataset,
) -> None:
    made = fit(dataset, "blended", "percentile", 0.5)
    copies = spoilt(made, 0.5 * made.folds.residual)
    found = training_copies(dataset, "MSTFE", "group", quiet)
    assert copies is not None and found is not None
    numbers, x = found
    train = dataset.role("group", "train")
    fold = dict(zip(train, fold_of_group(dataset.group[train], 2, 0), strict=True))
    for place, number in enumerate(numbers):
        network = made.folds.networks[fold[number]]
        error = dataset.log_price[number] - output(network, x.where(np.array([place])))[0]
        assert copies.residual[place] == pytest.approx(0.5 * error, rel=1e-4)


@pytest.mark.parametrize("objective,kind", [("blended", "threshold"), ("cross_fitted", "percentile")])
def test_only_a_blended_gate_of_eq_1_learns_from_copies(
    dataset: PricingDataset, learnt: list[Any], objective: str, kind: str
) -> None:
    made = fit(dataset, objective, kind, 0.5)
    OBJECTIVES[objective](made)
    OBJECTIVES["blended"](fit(dataset, "blended", "percentile", 0.5))
    alone, taught = learnt
    found = training_copies(dataset, "MSTFE", "group", quiet)
    assert found is not None
    assert len(alone.x) == len(made.numbers("train")) and alone.target.ndim == 1
    assert len(taught.x) == len(alone.x) + len(found[0])


def test_a_taught_gate_has_each_rows_own_error_and_no_share_is_asked_of_copies(
    dataset: PricingDataset, learnt: list[Any]
) -> None:
    made = fit(dataset, "blended", "percentile", 0.5)
    residual = made.folds.residual
    copies = spoilt(made, residual)
    assert copies is not None
    made.trained_gate(residual, made.folds.held_out_residual, copies)
    x, target = learnt[0].batch(torch.arange(len(learnt[0].x)))
    features = copies.x.matrix.features
    assert x[:, :features].numpy() == pytest.approx(np.concatenate([made.rows("train").array(), copies.x.array()]))
    assert target[:, 0].numpy() == pytest.approx(np.square([*residual, *copies.residual]), rel=1e-5)
    assert target[:, 1].tolist() == [1] * len(residual) + [0] * len(copies.residual)


@pytest.mark.parametrize("kind,own_share", [("percentile", 0.25), ("threshold", 0.5)])
def test_a_blended_gate_is_judged_by_the_words_that_it_was_fitted_with(
    dataset: PricingDataset, kind: str, own_share: float
) -> None:
    made = fit(dataset, "blended", kind, 0.5)
    model = OBJECTIVES["blended"](made).model
    assert model.beside is not None
    ranks, blend, x = model.beside.ranks, model.beside.blend, made.rows("validation")
    own = np.exp(output(model.scale, x))
    price = blend.price(x, mean_output(model.regressors, x))
    words = Words(output(model.gate, x), own, blend.error.expected_error(x, price))
    again = Ranks.among(words, blend.error_share, own_share)
    for name, value in vars(again).items():
        assert vars(ranks)[name] == pytest.approx(value), name
    assert model.judge(x).gate_logit == pytest.approx(again.gate_logit(words))


def test_fold_networks_that_are_read_again_are_in_the_order_of_their_folds(tmp_path: Path) -> None:
    """Beyond ten, too: a copy is priced by the network of its item's fold."""
    recipe = quick_recipe()
    artefacts, many = Artefacts(tmp_path), replace(recipe, pricing=replace(recipe.pricing, folds=11))
    dataset = PricingDataset(sold_rows(artefacts, 60), many, artefacts)
    made = fit(dataset, "blended", "percentile", 0.5)
    train, x = made.numbers("train"), made.rows("train")
    fold = fold_of_group(dataset.group[train], 11, 0)
    for k, network in enumerate(made.folds.networks):
        own = fold == k
        expected = dataset.log_price[train[own]] - output(network, x.where(own))
        assert made.folds.residual[own] == pytest.approx(expected, abs=1e-5)
