from threading import Thread

import numpy as np
import pytest
import torch
from worlds import world

from vps_ml.pricing.networks import (
    DRAWING,
    Dropout,
    PriceNetwork,
    PricingModel,
    judge_gaussians,
    model_from_state,
    model_state,
    network_from_state,
    parameters_of,
)


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


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_dropout_with_a_generator_of_its_own_drops_what_torchs_drops(share: float) -> None:
    torch.manual_seed(3)
    x, layer = torch.randn(300, 128), Dropout(share)
    layer.generator = torch.Generator()
    layer.generator.set_state(torch.get_rng_state())
    theirs = torch.nn.functional.dropout(x, share)
    torch.manual_seed(4)  # others draw meanwhile
    assert torch.equal(layer(x), theirs)
    assert torch.equal(layer.eval()(x), x)


def test_a_network_is_not_loaded_while_another_is_drawn_whose_numbers_it_would_take() -> None:
    state = PriceNetwork(16, (8, 4), 0.1).state_dict()
    loading = Thread(target=network_from_state, args=(state,))
    with DRAWING:
        torch.manual_seed(5)
        loading.start()
        loading.join(timeout=0.2)
        drawn = torch.rand(4)
        assert loading.is_alive()
    loading.join(timeout=20)
    assert not loading.is_alive()
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(4))


@pytest.mark.parametrize("hidden,outputs", [((8, 4), 1), ((5,), 2)])
def test_the_parameters_of_a_network_are_counted_before_it_is_made(hidden: tuple[int, ...], outputs: int) -> None:
    made = PriceNetwork(16, hidden, 0.1, outputs)
    assert parameters_of(16, hidden, outputs) == sum(weights.numel() for weights in made.parameters())
