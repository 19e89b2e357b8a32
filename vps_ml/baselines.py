"""What a user would pick instead: the category's median, and boosted trees with an error model as gate."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vps_ml.folds import fold_of_group

TREES = {
    "objective": "regression",
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
ROUNDS = 200


@dataclass(frozen=True)
class BaselinePrediction:
    """A baseline's word on some rows."""

    log_price: Float[np.ndarray, " N"]
    expected_error: Float[np.ndarray, " N"]
    """What its error model expects of |log error|, in ln units: the less, the more qualified."""


def category_median(
    log_price: Float[np.ndarray, " N"], category: np.ndarray, asked: np.ndarray
) -> Float[np.ndarray, " M"]:
    """The median log price of each asked category over the training rows; of all rows where it has none."""
    medians = {name: float(np.median(log_price[category == name])) for name in np.unique(category)}
    overall = float(np.median(log_price))
    return np.array([medians.get(name, overall) for name in asked])


def boosted_trees(
    x: Float[np.ndarray, "N F"], y: Float[np.ndarray, " N"], group: np.ndarray, folds: int, seed: int
) -> tuple[str, str]:
    """LightGBM on the price models' features, and its out-of-fold error model, as LightGBM's own text.

    The error model learns |y - prediction| of trees that did not see the item: the strongest baseline found in
    trial (findings, head-to-head).
    """
    import lightgbm

    parameters = {**TREES, "seed": seed}

    def fit(rows: np.ndarray, target: np.ndarray) -> lightgbm.Booster:
        data = lightgbm.Dataset(x[rows], target[rows])
        return lightgbm.train(parameters, data, ROUNDS)

    everything = np.arange(len(y))
    fold = fold_of_group(group, folds, seed)
    error = np.zeros(len(y))
    for k in range(folds):
        held_out = np.flatnonzero(fold == k)
        error[held_out] = np.abs(y[held_out] - fit(np.flatnonzero(fold != k), y).predict(x[held_out]))
    return fit(everything, y).model_to_string(), fit(everything, error).model_to_string()


def predict_trees(price_model: str, error_model: str, x: np.ndarray) -> BaselinePrediction:
    """What the two boosters say of some rows."""
    import lightgbm

    price, error = (lightgbm.Booster(model_str=text).predict(x) for text in (price_model, error_model))
    return BaselinePrediction(np.asarray(price, dtype=np.float64), np.asarray(error, dtype=np.float64))
