"""How far apart two items are, for a kernel machine and for comparables: weighted price features.

Axes: N item, F feature.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from vps_ml.features.matrix import MatrixRows
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import LABEL

LABELS_WEIGH, STATISTICS_WEIGH = 0.5, 0.1
"""In the distance, beside blocks of features: a label's 0 or 1, a standard deviation of a statistic."""
BLOCKS_WEIGH = {0: 1.0, 1: 1.0, 2: 0.75, 3: 0.65}
"""Mean norm of each block of features (a photo's, hashed words', encoded sentences'), by how many there are. Chosen by
hand on real adverts; within .003 of the best of a grid (docs/experiments.md)."""
MOST_ROWS = 40_000
"""Training rows that are held: a seeded choice of them where there are more."""

Rows = MatrixRows | np.ndarray


def parts_of(x: Rows) -> Iterator[Float[np.ndarray, "N F"]]:
    """The rows as arrays, some at a time, without the zeros that pad a matrix."""
    if isinstance(x, np.ndarray):
        yield x
        return
    for part in x.parts():
        yield part.cpu().numpy()[:, : x.matrix.features]


def input_scale(feature_map: FeatureMap, x: Float[np.ndarray, "N F"], learning: str) -> Float[np.ndarray, " F"]:
    """What each price feature is multiplied by before distances are taken: see `LABELS_WEIGH`, `BLOCKS_WEIGH`.

    Args:
        feature_map: which the features went through.
        x: training rows.
        learning: prices or errors; zero for a feature that it is not learnt from.
    """
    widths = [feature_map.photo_width, *(feature_map.words.parts if feature_map.words is not None else ())]
    weight, ends = BLOCKS_WEIGH[sum(width > 0 for width in widths)], np.cumsum([0, *widths])
    norms = [float(np.linalg.norm(x[:, a:b], axis=1).mean()) if b > a else 1.0 for a, b in pairwise(ends)]
    is_label = np.array([LABEL in name for name in feature_map.columns], dtype=bool)
    # A label's column is standardised in the matrix, so that a rare one would be far from all others.
    tabular = np.where(is_label, LABELS_WEIGH * feature_map.statistic_scale, STATISTICS_WEIGH)
    blocks = [np.full(width, weight / max(norm, 1e-6)) for width, norm in zip(widths, norms, strict=True)]
    scale = np.concatenate([*blocks, tabular]).astype(np.float32)
    scale[feature_map.hidden(learning)] = 0
    return scale


def seeded_choice(group: np.ndarray, seed: int, most: int | None = None) -> np.ndarray:
    """All row numbers, or those of whole groups that have `most` rows at most, ascending.

    Args:
        group: each row's group.
        seed: of the choice.
        most: None: `MOST_ROWS`.
    """
    most = MOST_ROWS if most is None else most
    if len(group) <= most:
        return np.arange(len(group))
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[sizes[order] <= most]  # or a large group that comes first would leave nothing
    kept = order[np.cumsum(sizes[order]) <= most]
    return np.flatnonzero(np.isin(number, kept)) if kept.size else np.arange(most)
