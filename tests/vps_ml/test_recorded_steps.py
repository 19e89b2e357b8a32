"""Steps that a GPU repeats by itself: what they learn is what steps learn that Python starts. Needs a GPU."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from worlds import QUICK, quiet, world

from vps_ml import recorded_steps
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.pricing.learners import (
    Learner,
    constraint_objective,
    expected_error,
    gate,
    gaussian,
    regressor,
    train_alone,
    train_jointly,
)
from vps_ml.pricing.networks import Examples
from vps_ml.recorded_steps import RecordedSteps
from vps_ml.training_loop import Session

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
RECIPE = replace(QUICK, dropout=0.3, gate_dropout=0.3)


def learner(name: str, train: Examples) -> Learner:
    objective = constraint_objective("threshold", 0.5, RECIPE, 1.0)
    if name == "gate":
        return gate(train, objective, RECIPE)
    return (
        expected_error(train, RECIPE)
        if name == "error"
        else {"price": regressor, "gaussian": gaussian}[name](name, train, RECIPE)
    )


@pytest.mark.parametrize("name", ["joint", "price", "gaussian", "error", "gate"])
def test_recorded_steps_learn_what_steps_do_to_the_last_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are of two sizes, dropout draws anew, phases have rates of their own, and some columns are not seen."""
    x, y, _ = world(701)
    matrix = replace(FeatureMatrix.of(x), hidden={PRICES: [1], ERRORS: [0, 2]})
    train = Examples.of(matrix.rows(np.arange(701)), np.square(y))
    held_out = Examples.of(matrix.rows(np.arange(50)), np.square(y[:50]))

    def weights() -> list[torch.Tensor]:
        if name == "joint":
            objective = constraint_objective("percentile", 0.5, RECIPE, 1.0)
            networks = train_jointly(train, held_out, objective, RECIPE, True, 3, Session(quiet))
        else:
            networks = (train_alone(learner(name, train), train, held_out, RECIPE, 3, Session(quiet)),)
        return [parameter for network in networks for parameter in network.parameters()]

    made = Mock(wraps=RecordedSteps.recorded)
    monkeypatch.setattr(RecordedSteps, "recorded", lambda *arguments: made(*arguments))
    recorded = weights()
    assert bool(made.call_count) == (name != "gaussian"), "its loss waits for the GPU"
    monkeypatch.setattr(recorded_steps, "WARM_UP", 10**9)
    made.reset_mock()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(recorded, weights(), strict=True))
    assert not made.called
