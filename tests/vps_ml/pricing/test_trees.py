import numpy as np

from vps_ml.pricing.trees import boosted_trees, judge_trees


def test_trees_expect_more_error_where_prices_scatter() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 4)).astype(np.float32)
    noisy = x[:, 1] > 0
    y = x[:, 0] + np.where(noisy, rng.normal(0, 2, 800), 0.0)
    train, held_out = (x[:600], y[:600]), (x[600:], y[600:])
    judged = judge_trees(*boosted_trees(train, held_out, np.arange(600), 0), x)
    assert judged.expected_error[noisy].mean() > 2 * judged.expected_error[~noisy].mean()
    assert (judged.expected_error > 0).all()
