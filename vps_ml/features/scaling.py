"""The matrix that the price models see: reduced visual features beside standardised statistics.

Axes: N listing, V visual feature, S statistic, F feature of the price models.
"""

from collections.abc import Iterable
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


MOST_DEVIATIONS = 1000.0
"""Of a standardised feature: one that hardly varied in training must not leave half precision's range later."""


@dataclass(frozen=True)
class FeatureMap:
    """What was learnt of the training rows to turn raw features into the matrix."""

    visual_mean: Float[np.ndarray, " V"]
    visual_projection: Float[np.ndarray, "V R"] | Float[np.ndarray, " V"]
    """Principal axes over the scale (reduced), or one over each feature's standard deviation (not reduced)."""
    statistic_mean: Float[np.ndarray, " S"]
    statistic_scale: Float[np.ndarray, " S"]

    @property
    def reduces(self) -> bool:
        """Whether the visual features become principal components."""
        return self.visual_projection.ndim == 2

    @property
    def width(self) -> int:
        """How many visual features come out."""
        return self.visual_projection.shape[-1]

    def seen(self, visual: np.ndarray) -> Float[np.ndarray, "N R"]:
        """Visual features as the price networks see them."""
        centred = visual.astype(np.float32) - self.visual_mean
        if self.reduces:
            return centred @ self.visual_projection
        return np.clip(centred * self.visual_projection, -MOST_DEVIATIONS, MOST_DEVIATIONS)

    def standardised(self, statistics: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N S"]:
        """Statistics as the price networks see them; a missing one is zero, the training mean."""
        standard = (statistics - self.statistic_mean) / self.statistic_scale
        return np.nan_to_num(standard).astype(np.float32)

    def matrix(self, visual: np.ndarray, statistics: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N F"]:
        """Features of any rows."""
        return np.concatenate([self.seen(visual), self.standardised(statistics)], axis=1)


@dataclass(frozen=True)
class VisualMoments:
    """Sums of visual features and of their squares, added up block by block."""

    count: int
    total: Float[np.ndarray, " V"]
    squares: Float[np.ndarray, " V"]

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> "VisualMoments":
        """Of all rows of the blocks, of which there is at least one."""
        count, total, squares = 0, np.zeros(0), np.zeros(0)
        for block in blocks:
            wide = block.astype(np.float64)
            total = wide.sum(axis=0) + (total if count else 0)
            squares = np.square(wide).sum(axis=0) + (squares if count else 0)
            count += len(block)
        return cls(count, total, squares)

    @property
    def mean(self) -> Float[np.ndarray, " V"]:
        return (self.total / self.count).astype(np.float32)

    @property
    def scale(self) -> Float[np.ndarray, " V"]:
        """One over the standard deviation of each feature."""
        variance = np.maximum(self.squares / self.count - np.square(self.total / self.count), 0)
        return (1 / np.maximum(np.sqrt(variance), 1e-3)).astype(np.float32)


def principal_axes(visual: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean, axes over their scale) of training rows' visual features.

    Components are scaled by the root of their common mean variance, so that strong ones stay strong.
    """
    from sklearn.decomposition import PCA

    visual = visual.astype(np.float32)
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(visual)
    return visual.mean(axis=0), (pca.components_.T / np.sqrt(pca.explained_variance_.mean())).astype(np.float32)


def statistic_moments(statistics: Float[np.ndarray, "N S"]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, scale) of training rows' statistics, missing ones left out."""
    known = np.isfinite(statistics)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, statistics, 0.0)
    centre = filled.sum(axis=0) / count
    spread = np.sqrt((np.where(known, statistics - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, np.maximum(spread, 1e-3)
