"""What a user would pick instead: the category's median, boosted trees with an error model, Gaussian networks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.folds import fold_of_group

if TYPE_CHECKING:
    from vps_ml.features.matrix import MatrixRows
    from vps_ml.pricing.networks import PriceNetwork

Rows = tuple[np.ndarray, np.ndarray]
"""Features (N F), and what is to be learnt of them (N)."""

TREES = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "verbosity": -1,
    "deterministic": True,
    "num_threads": 2,
}
MOST_ROUNDS = 1000
PATIENCE = 30
FOLDS = 5
"""Of the error model's out-of-fold errors."""
PRICE = {"objective": "huber", "alpha": 0.5}
"""As `cross_fitted`'s regressors: what MALE asks for must not be kept from the rival."""
ERROR = {"objective": "regression"}
LEAST_EXPECTED_ERROR = 1e-3
"""ln units: an error model of trees may say that it expects less than nothing."""


def category_median(
    log_price: Float[np.ndarray, " N"], category: np.ndarray, asked: np.ndarray
) -> Float[np.ndarray, " M"]:
    """The median log price of each asked category over the training rows; of all rows where it has none."""
    medians = {name: float(np.median(log_price[category == name])) for name in np.unique(category)}
    overall = float(np.median(log_price))
    return np.array([medians.get(name, overall) for name in asked])


def boosted_trees(train: Rows, held_out: Rows, group: np.ndarray, seed: int) -> tuple[str, str]:
    """LightGBM on the price models' features, and its out-of-fold error model, as LightGBM's own text.

    The error model learns |y - prediction| of trees that did not see the item: the strongest baseline found in
    trial (findings, head-to-head). As with our own networks, the price is learnt by Huber's loss, and the validation
    rows say when to stop.

    Args:
        train: features and log prices of the training rows.
        held_out: those of the validation rows.
        group: each training row's group; a group is in one fold whole.
    """
    import lightgbm

    def fit(learnt: Rows, stop: Rows, objective: dict) -> lightgbm.Booster:
        data = lightgbm.Dataset(*learnt)
        judge = lightgbm.Dataset(*stop, reference=data)
        patience = lightgbm.early_stopping(PATIENCE, verbose=False)
        settings = {**TREES, **objective, "seed": seed}
        return lightgbm.train(settings, data, MOST_ROUNDS, valid_sets=[judge], callbacks=[patience])

    x, y = train
    fold = fold_of_group(group, FOLDS, seed)
    error = np.zeros(len(y))
    for k in range(FOLDS):
        inside, outside = fold != k, fold == k
        error[outside] = np.abs(y[outside] - fit((x[inside], y[inside]), held_out, PRICE).predict(x[outside]))
    price = fit(train, held_out, PRICE)
    unseen = held_out[0], np.abs(held_out[1] - price.predict(held_out[0]))
    return price.model_to_string(), fit((x, error), unseen, ERROR).model_to_string()


def judge_trees(price_model: str, error_model: str, x: Float[np.ndarray, "N F"]) -> Judgement:
    """What the two boosters say of some rows: the less error they expect, the more qualified."""
    import lightgbm

    price, error = (lightgbm.Booster(model_str=text).predict(x) for text in (price_model, error_model))
    expected = np.maximum(np.asarray(error, dtype=np.float64), LEAST_EXPECTED_ERROR)
    return Judgement(np.asarray(price, dtype=np.float64), -expected, expected)


def judge_median(log_price: Float[np.ndarray, " N"], category: np.ndarray, asked: np.ndarray) -> Judgement:
    """The category's median for every asked listing: all qualified, all with the same expected error."""
    priced = category_median(log_price, category, asked)
    return Judgement(priced, np.zeros(len(asked)), np.ones(len(asked)))


def judge_gaussians(networks: "Sequence[PriceNetwork]", x: "MatrixRows") -> Judgement:
    """An ensemble's mixture of Gaussians as one (Lakshminarayanan et al., "Deep Ensembles", 2017, section 2.4)."""
    from vps_ml.pricing.networks import outputs

    said = np.stack([outputs(network, x) for network in networks])
    mean = said[..., 0].mean(axis=0)
    variance = (np.exp(said[..., 1]) + said[..., 0] ** 2).mean(axis=0) - mean**2
    expected = np.sqrt(variance * 2 / np.pi)  # E|e| of a Gaussian
    return Judgement(mean, -expected, expected)
