import numpy as np
import pytest
import torch
from worlds import world

from vps_ml.pricing.networks import PriceNetwork, PricingModel, judge_gaussians, model_from_state, model_state


def gaussian(mean: float, variance: float) -> PriceNetwork:
    """A network with this output for every row."""
    network = PriceNetwork(16, (4,), 0.0, outputs=2).eval()  # as wide as a matrix of 2 is padded
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.layers[-1].bias.copy_(torch.tensor([mean, float(np.log(variance))]))
    return network


def test_an_ensemble_of_gaussians_adds_their_disagreement_to_their_variance() -> None:
    # means 1 and 3, variances 0.5 and 1.5: mean 2, variance (0.5 + 1 + 1.5 + 9) / 2 - 4 = 2
    judged = judge_gaussians([gaussian(1.0, 0.5), gaussian(3.0, 1.5)], np.zeros((1, 2), dtype=np.float32))
    assert judged.log_price[0] == pytest.approx(2.0)
    assert judged.expected_error[0] == pytest.approx(np.sqrt(2.0 * 2 / np.pi), abs=1e-6)
    assert judged.gate_logit[0] == -judged.expected_error[0]


def test_a_saved_model_judges_the_same() -> None:
    networks = [PriceNetwork(16, (8, 4), 0.1).eval() for _ in range(4)]  # as wide as a matrix of 6 is padded
    model = PricingModel(networks[:2], networks[2], networks[3])
    again = model_from_state(model_state(model))
    x = world(20)[0]
    for name in ("log_price", "gate_logit", "expected_error"):
        assert np.array_equal(getattr(model.judge(x), name), getattr(again.judge(x), name))
