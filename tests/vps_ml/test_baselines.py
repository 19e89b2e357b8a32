import numpy as np
import pytest
import torch

from vps_ml.pricing.baselines import boosted_trees, judge_gaussians, judge_median, judge_trees
from vps_ml.pricing.networks import PriceNetwork


def gaussian(mean: float, variance: float) -> PriceNetwork:
    """A network that says this of every row."""
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


def test_the_category_median_stands_in_for_every_listing_and_the_overall_one_for_a_new_category() -> None:
    judged = judge_median(np.array([1.0, 2.0, 9.0]), np.array(["a", "a", "b"]), np.array(["a", "b", "new"]))
    assert judged.log_price.tolist() == [1.5, 9.0, 2.0]


def test_trees_expect_more_error_where_prices_scatter() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    noisy = x[:, 1] > 0
    y = x[:, 0] + np.where(noisy, rng.normal(0, 2, 800), 0.0)
    train, held_out = (x[:600], y[:600]), (x[600:], y[600:])
    judged = judge_trees(*boosted_trees(train, held_out, np.arange(600), 0), x)
    assert judged.expected_error[noisy].mean() > 2 * judged.expected_error[~noisy].mean()
    assert (judged.expected_error > 0).all()
