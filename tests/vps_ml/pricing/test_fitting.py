"""What a blended model's gate learns from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from datasets import photographed_rows, quick_recipe
from worlds import quiet

from vps_ml.artefacts import Artefacts
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.spoilt import training_copies
from vps_ml.pricing import fitting
from vps_ml.pricing.fitting import OBJECTIVES, Fit, spoilt
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.networks import output
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
    assert len(alone.x) == len(made.numbers("train"))
    assert len(taught.x) == len(alone.x) + len(found[0])
    assert taught.target.shape == (len(taught.x),)
