"""From raw features to what price networks take: reduced or standardised visual features, standardised columns.

Axes: N listing, V visual feature, R reduced visual feature, S tabular column, F feature of the price models.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.features.tabular import hidden_from, tabular_matrix
from vps_ml.features.words_map import PREFIX, WordsMap
from vps_ml.words.files import WordFeatures

MOST_DEVIATIONS = 1000.0
"""Of a standardised feature: one that hardly varied in training must not leave the range of half precision later."""
LEAST_SPREAD = 0.1
"""By which a tabular column is divided at least: one that hardly varied in training (the marketplace's median over some
weeks) would carry later rows far outside what was seen, and the gate with the calendar."""
MAP = "map"
"""Name of the arrays in a feature map's artefact."""
COLUMNS, WORDS = "columns", "words"
"""Fields of a map that are not among these arrays: the tabular columns, in its card; the map of words."""
UNNAMED_COLUMNS = (
    "marketplace_q1", "marketplace_median", "marketplace_q3", "marketplace_mean",
    "category_q1", "category_median", "category_q3", "category_mean",
    "seller_q1", "seller_median", "seller_q3", "seller_mean",
    "marketplace_sales", "category_sales", "seller_sales",
)  # fmt: skip
"""The columns, or the first of them, of a map that was fitted before the card named them."""


@dataclass(frozen=True)
class FeatureMap:
    """The transformation of raw features that was fitted on the training rows."""

    visual_mean: Float[np.ndarray, " V"]
    visual_projection: Float[np.ndarray, "V R"] | Float[np.ndarray, " V"]
    """Principal axes over the scale (reduced), or one over each feature's standard deviation (not reduced)."""
    statistic_mean: Float[np.ndarray, " S"]
    statistic_scale: Float[np.ndarray, " S"]
    columns: tuple[str, ...]
    """The tabular columns, in the order of `statistic_mean`."""
    words: WordsMap | None = None
    """Of what the seller says, which stands behind the visual features; None for a model of the photo alone."""

    @classmethod
    def load(cls, artefacts: Artefacts, map_id: str) -> "FeatureMap":
        """Read a fitted map."""
        arrays = artefacts.models.arrays(map_id, MAP)
        columns = artefacts.models.card(map_id).get(COLUMNS, UNNAMED_COLUMNS[: arrays["statistic_mean"].size])
        own = {name: value for name, value in arrays.items() if not name.startswith(PREFIX)}
        return cls(**own, columns=tuple(columns), words=WordsMap.of(arrays))

    def contents(self, features: str, split_kind: str) -> Contents:
        """The map as an artefact's contents."""
        arrays = {name: value for name, value in vars(self).items() if name not in (COLUMNS, WORDS)}
        if self.words is not None:
            arrays |= self.words.arrays()
        card = {"kind": "feature_map", "features": features, "split_kind": split_kind, COLUMNS: self.columns}
        return Contents(card, arrays={MAP: arrays})

    @property
    def reduces(self) -> bool:
        """Whether the visual features become principal components."""
        return self.visual_projection.ndim == 2

    @property
    def photo_width(self) -> int:
        """Number of visual features after the transformation."""
        return self.visual_projection.shape[-1]

    @property
    def width(self) -> int:
        """Number of features of photo and words after the transformation."""
        return self.photo_width + (0 if self.words is None else self.words.width)

    def hidden(self, learning: str) -> list[int]:
        """The numbers of the features that prices, or errors, are not learnt from (`tabular.hidden_from`)."""
        return [self.width + number for number in hidden_from(learning, self.columns)]

    def visual(self, raw: np.ndarray) -> Float[np.ndarray, "N R"]:
        """Visual features as the price networks take them."""
        centred = raw.astype(np.float32) - self.visual_mean
        if self.reduces:
            return centred @ self.visual_projection
        return np.clip(centred * self.visual_projection, -MOST_DEVIATIONS, MOST_DEVIATIONS)

    def tabular(self, rows: pl.DataFrame) -> Float[np.ndarray, "N S"]:
        """The rows' tabular columns as the price networks take them; a missing value is zero, the training mean."""
        standard = (tabular_matrix(rows, self.columns) - self.statistic_mean) / self.statistic_scale
        return np.nan_to_num(standard).astype(np.float32)

    def matrix(
        self, visual: np.ndarray, rows: pl.DataFrame, words: WordFeatures | None = None
    ) -> Float[np.ndarray, "N F"]:
        """The features of some rows, given their raw visual features, and their words if the map takes any."""
        parts = [self.visual(visual)]
        if self.words is not None:
            assert words is not None, "a map of words takes words"
            parts.append(self.words.features(words))
        return np.concatenate([*parts, self.tabular(rows)], axis=1)


@dataclass(frozen=True)
class VisualMoments:
    """Sums of visual features and of their squares, added up block by block."""

    count: int
    total: Float[np.ndarray, " V"]
    squares: Float[np.ndarray, " V"]

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> "VisualMoments":
        """Of all rows of the blocks; there must be at least one."""
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


def tabular_moments(tabular: Float[np.ndarray, "N S"]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each column, missing values left out."""
    present = np.isfinite(tabular)
    count = np.maximum(present.sum(axis=0), 1)
    filled = np.where(present, tabular, 0.0)
    centre = filled.sum(axis=0) / count
    spread = np.sqrt((np.where(present, tabular - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, np.maximum(spread, LEAST_SPREAD)
