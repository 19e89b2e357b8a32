"""The matrix that the price models see: reduced visual features beside standardised statistics.

Axes: N listing, V visual feature, S statistic, F feature of the price models.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

HISTORIES = ("marketplace", "category", "seller")
MOMENTS = ("q1", "median", "q3", "mean")
PRICE_STATISTICS = tuple(f"{history}_{moment}" for history in HISTORIES for moment in MOMENTS)
"""Twelve numbers, money (method, section 4)."""
SALE_COUNTS = tuple(f"{history}_sales" for history in HISTORIES)
"""How many sales are behind each history: its own, also where the prices fell back to a wider group."""


def statistics_matrix(
    prices: Float[np.ndarray, "N 12"], sales: Float[np.ndarray, "N 3"] | None
) -> Float[np.ndarray, "N S"]:
    """Statistics as the networks see them before standardisation: logs of prices, log1p of counts; NaN is missing."""
    logs = np.log(prices)
    return logs if sales is None else np.concatenate([logs, np.log1p(sales)], axis=1)


@dataclass(frozen=True)
class FeatureMap:
    """What was learnt of the training rows to turn raw features into the matrix."""

    visual_mean: Float[np.ndarray, " V"]
    visual_projection: Float[np.ndarray, "V R"] | Float[np.ndarray, " V"]
    """Principal axes over the scale (reduced), or one over each feature's standard deviation (not reduced)."""
    statistic_mean: Float[np.ndarray, " S"]
    statistic_scale: Float[np.ndarray, " S"]

    def matrix(self, visual: np.ndarray, statistics: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N F"]:
        """Features of any rows; a missing statistic is zero, the training mean."""
        centred = visual.astype(np.float32) - self.visual_mean
        flat = self.visual_projection.ndim == 1
        seen = centred * self.visual_projection if flat else centred @ self.visual_projection
        standard = (statistics - self.statistic_mean) / self.statistic_scale
        return np.concatenate([seen, np.nan_to_num(standard)], axis=1).astype(np.float32)


def fit_feature_map(
    visual: np.ndarray, statistics: Float[np.ndarray, "N S"], reduced_features: int | None, seed: int
) -> FeatureMap:
    """Learn the map of the training rows alone.

    Components are scaled by the root of their common mean variance, so that strong ones stay strong.
    """
    visual = visual.astype(np.float32)
    mean = visual.mean(axis=0)
    if reduced_features is None or reduced_features >= min(visual.shape):
        projection = (1 / np.maximum(visual.std(axis=0), 1e-3)).astype(np.float32)
    else:
        from sklearn.decomposition import PCA

        pca = PCA(reduced_features, svd_solver="randomized", random_state=seed).fit(visual)
        projection = (pca.components_.T / np.sqrt(pca.explained_variance_.mean())).astype(np.float32)
    known = np.isfinite(statistics)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, statistics, 0.0)
    centre = filled.sum(axis=0) / count
    spread = np.sqrt((np.where(known, statistics - centre, 0.0) ** 2).sum(axis=0) / count)
    return FeatureMap(mean, projection, centre, np.maximum(spread, 1e-3))
