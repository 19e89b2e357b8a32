"""Boosted trees with an error model, as LightGBM's own text.

Axes: N item, F feature.
"""

from typing import Any

import lightgbm
import numpy as np
from jaxtyping import Float

from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.folds import fold_of_group

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
"""For the error model's out-of-fold errors."""
PRICE = {"objective": "huber", "alpha": 0.5}
"""As `cross_fitted`'s regressors: a loss that suits MALE must not be kept from a baseline."""
ERROR = {"objective": "regression"}
LEAST_EXPECTED_ERROR = 1e-3
"""ln units: an error model of trees may predict less than nothing."""

TrainingRows = tuple[np.ndarray, np.ndarray]
"""Features (N F), and what is predicted from them (N)."""


def boosted_trees(train: TrainingRows, validation: TrainingRows, group: np.ndarray, seed: int) -> tuple[str, str]:
    """Boosted trees and their out-of-fold error model, as LightGBM's own text.

    The error model learns |y - prediction| of trees that did not see the item: the strongest baseline found in
    trial. As with our own networks, the price is learnt with Huber's loss, and the
    validation rows decide when to stop.

    Args:
        train: features and log prices of the training rows.
        validation: those of the validation rows.
        group: each training row's group; all rows of a group are in one fold.
        seed: of bagging and folds.
    """

    def fit(learnt: TrainingRows, stop: TrainingRows, objective: dict[str, Any]) -> lightgbm.Booster:
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
        error[outside] = np.abs(y[outside] - fit((x[inside], y[inside]), validation, PRICE).predict(x[outside]))
    price = fit(train, validation, PRICE)
    unseen = validation[0], np.abs(validation[1] - price.predict(validation[0]))
    return price.model_to_string(), fit((x, error), unseen, ERROR).model_to_string()


def judge_trees(price_model: str, error_model: str, x: Float[np.ndarray, "N F"]) -> Judgement:
    """The two boosters' judgement of some rows: the less error they expect, the more qualified."""
    price, error = (lightgbm.Booster(model_str=text).predict(x) for text in (price_model, error_model))
    expected = np.maximum(np.asarray(error, dtype=np.float64), LEAST_EXPECTED_ERROR)
    return Judgement(np.asarray(price, dtype=np.float64), -expected, expected)
