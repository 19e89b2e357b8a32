"""Boosted trees, one booster a fold, with an error model; as LightGBM's own text.

Axes: N item, F feature, V validation item.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from jaxtyping import Float

from vps_ml.imports import without
from vps_ml.pricing.folds import fold_of_group
from vps_ml.threads import check_wanted, side_by_side

with without("sklearn"):  # of which LightGBM would make estimators that nobody uses
    import lightgbm

TREES = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "verbosity": -1,
    "max_bin": 63,
    "deterministic": True,
}
"""With 63 values a feature a tree takes half as long as with 255 and prices real adverts as well (docs/experiments.md).
`deterministic`: the same trees by however many threads."""
LARGE_BYTES = 1 << 27
"""Of features from which on threads share a booster's steps: those of smaller ones are too small for it."""
MOST_ROUNDS = 1000
PATIENCE = 30
PRICE = {"objective": "huber", "alpha": 0.5}
"""As `cross_fitted`'s regressors: a loss that suits MALE must not be kept from a baseline."""
ERROR = {"objective": "regression"}
LEAST_EXPECTED_ERROR = 1e-3
"""ln units: an error model of trees may predict less than nothing."""

TrainingRows = tuple[np.ndarray, np.ndarray]
"""Features (N F), and what is predicted from them (N)."""


@dataclass(frozen=True)
class FoldTrees:
    """K boosters of prices, each trained without one fold, and their errors on items that they did not see."""

    boosters: tuple[str, ...]
    """LightGBM's text of each."""
    residual: Float[np.ndarray, " N"]
    """y less the prediction of the booster that was trained without the item, in ln units."""
    held_out_residual: Float[np.ndarray, " V"]
    """y less the boosters' mean, on the validation rows."""


def fit_booster(
    learnt: TrainingRows,
    stop: TrainingRows,
    objective: Mapping[str, Any],
    seed: int,
    threads: int,
    not_wanted: Event | None = None,
) -> lightgbm.Booster:
    """One booster; the second rows decide when to stop, and the best round is kept.

    Raises:
        NotWantedError: `not_wanted` was set meanwhile.
    """
    data = lightgbm.Dataset(*learnt)
    judge = lightgbm.Dataset(*stop, reference=data)

    def look(_: object) -> None:
        check_wanted(not_wanted)

    patience = lightgbm.early_stopping(PATIENCE, verbose=False)
    settings = {**TREES, **objective, "seed": seed, "num_threads": threads}
    return lightgbm.train(settings, data, MOST_ROUNDS, valid_sets=[judge], callbacks=[patience, look])


def threads_of(x: Float[np.ndarray, "N F"]) -> int:
    """How many threads share the steps of a booster of these features."""
    return 1 if x.nbytes < LARGE_BYTES else os.cpu_count() or 1


def fit_fold_trees(
    train: TrainingRows, validation: TrainingRows, group: np.ndarray, folds: int, seed: int
) -> FoldTrees:
    """Boosters on the folds that the price networks are trained on, so that no rival has fewer members.

    Args:
        train: features and log prices of the training rows.
        validation: those of the validation rows, which decide when to stop.
        group: each training row's group; all rows of a group are in one fold.
        folds: how many.
        seed: of bagging and folds.
    """
    x, y = train
    fold, threads = fold_of_group(group, folds, seed), threads_of(x)

    def without(k: int, not_wanted: Event | None = None) -> lightgbm.Booster:
        return fit_booster((x[fold != k], y[fold != k]), validation, PRICE, seed * 1000 + k, threads, not_wanted)

    each = range(folds)
    boosters = side_by_side(without, each, 2 * x.nbytes) if threads == 1 else [without(k) for k in each]
    residual = np.zeros(len(y))
    for k, booster in enumerate(boosters):
        residual[fold == k] = y[fold == k] - booster.predict(x[fold == k])
    texts = tuple(booster.model_to_string() for booster in boosters)
    return FoldTrees(texts, residual, validation[1] - trees_price(texts, validation[0]))


def trees_price(boosters: Sequence[str], x: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
    """The boosters' mean prediction."""
    each = [lightgbm.Booster(model_str=text).predict(x) for text in boosters]
    return np.mean(np.asarray(each, dtype=np.float64), axis=0)


def fit_error_trees(train: TrainingRows, validation: TrainingRows, seed: int) -> str:
    """Trees that expect |error|, from errors of prices on items that no booster had seen (N, in ln units)."""
    (x, residual), (unseen, held_out) = train, validation
    return fit_booster((x, np.abs(residual)), (unseen, np.abs(held_out)), ERROR, seed, threads_of(x)).model_to_string()


def trees_error(error_model: str, x: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
    """The expected |error|, in ln units."""
    expected = np.asarray(lightgbm.Booster(model_str=error_model).predict(x), dtype=np.float64)
    return np.maximum(expected, LEAST_EXPECTED_ERROR)


def trees_text(boosters: Sequence[str]) -> str:
    """Several boosters as one text."""
    return json.dumps(list(boosters))


def trees_of(text: str) -> tuple[str, ...]:
    """The boosters of a `trees_text`."""
    return tuple(json.loads(text))
