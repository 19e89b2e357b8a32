"""Folds that keep groups together."""

import numpy as np


def fold_of_group(group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """A fold for each item, one for all items of a group, groups spread evenly over the folds."""
    _, number = np.unique(group, return_inverse=True)
    return (np.random.default_rng(seed).permutation(number.max() + 1) % folds)[number]
