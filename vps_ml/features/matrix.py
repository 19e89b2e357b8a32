"""The matrix that price networks are trained on, held once: a float array, or half precision in a mapped file.

Axes: N row, V visual feature, S tabular column, F = V + S feature of the price networks, P padded, B row of a batch.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vps_ml.backbones.networks import accelerator
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.words.files import WordFeatures, stacked

Block = tuple[Int[np.ndarray, " row"], np.ndarray]
"""Numbers of rows of the matrix, and their raw visual features."""
WordsBlock = tuple[Int[np.ndarray, " row"], WordFeatures]
"""The same, and their words."""
READ_ROWS = 8192
"""Rows converted to float at a time for prediction: 270 MB at the paper's 8,204 features."""
FEWEST_AT_ONCE = 2048
"""Rows that are transformed at a time, if there are so many: a date may have two, and a product of matrices for each
costs more than what it multiplies."""
Features = TypeVar("Features")


@dataclass(frozen=True)
class FeatureMatrix:
    """Rows of a dataset as price networks take them, on the GPU if there is one."""

    visual: Tensor
    """(N V), of photos and words: float if the visual features are reduced, half precision otherwise."""
    tabular: Float[Tensor, "N P"]
    """The tabular columns, and columns of zeros that make the width a multiple of `ALIGNED`."""
    features: int
    """F: the number of columns without the zeros."""
    hidden: Mapping[str, list[int]] = field(default_factory=dict)
    """What is learnt, prices or errors -> the numbers of the columns that it is not learnt from."""

    @classmethod
    def of(cls, array: Float[np.ndarray, "N F"]) -> "FeatureMatrix":
        """The matrix of a small array."""
        x = padded(np.asarray(array, dtype=np.float32), array.shape[1])
        return cls(torch.from_numpy(x).to(accelerator()), torch.empty((len(x), 0)), array.shape[1])

    @classmethod
    def assembled(
        cls,
        feature_map: FeatureMap,
        blocks: Iterable[Block],
        rows: pl.DataFrame,
        scratch: Path,
        words: Iterable[WordsBlock] = (),
    ) -> "FeatureMatrix":
        """Transform every block and put it in its place: memory holds one block beside the matrix.

        Reduced features are a float array. The paper's 8,192 are standardised and kept in half precision in a file
        under `scratch` that has no name, so the system frees it with this process, whichever way that ends.

        Args:
            feature_map: fitted on the training rows.
            blocks: raw visual features of the rows.
            rows: with the map's tabular columns.
            scratch: a folder on a disk with room for the matrix.
            words: of the rows, where the map takes any.
        """
        tabular = feature_map.tabular(rows)
        features = feature_map.width + tabular.shape[1]
        standard = padded(tabular, features)
        shape = rows.height, feature_map.width
        small = feature_map.reduces or not feature_map.photo_width
        visual = np.empty(shape, dtype=np.float32) if small else unnamed(scratch, shape)
        for numbers, raw in together(blocks, np.concatenate):
            visual[numbers, : feature_map.photo_width] = feature_map.visual(raw)
        if feature_map.words is not None:
            for numbers, said in together(words, stacked):
                visual[numbers, feature_map.photo_width :] = feature_map.words.features(said)
        device = accelerator()
        hidden = {learning: feature_map.hidden(learning) for learning in (PRICES, ERRORS)}
        return cls(torch.from_numpy(visual).to(device), torch.from_numpy(standard).to(device), features, hidden)

    @property
    def width(self) -> int:
        """Number of columns that a network takes."""
        return self.visual.shape[1] + self.tabular.shape[1]

    def batch(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "B P"]:
        """Some rows as the networks take them."""
        if not self.tabular.shape[1]:
            return self.visual[rows].float()
        x = torch.empty((len(rows), self.width), device=self.visual.device)
        x[:, : self.visual.shape[1]] = self.visual[rows]
        x[:, self.visual.shape[1] :] = self.tabular[rows]
        return x

    def rows(self, numbers: Int[np.ndarray, " row"]) -> "MatrixRows":
        return MatrixRows(self, torch.from_numpy(np.asarray(numbers, dtype=np.int64)).to(self.visual.device))


def together(
    blocks: Iterable[tuple[np.ndarray, Features]], join: Callable[[list[Features]], Features]
) -> Iterator[tuple[np.ndarray, Features]]:
    """The blocks, those with less than `FEWEST_AT_ONCE` rows joined until they have as many."""
    numbers: list[np.ndarray] = []
    features: list[Features] = []
    for rows, block in blocks:
        if len(rows) >= FEWEST_AT_ONCE:
            yield rows, block
            continue
        numbers.append(rows)
        features.append(block)
        if sum(map(len, numbers)) >= FEWEST_AT_ONCE:
            yield np.concatenate(numbers), join(features)
            numbers, features = [], []
    if numbers:
        yield np.concatenate(numbers), join(features)


ALIGNED = 16
"""Columns in a cache line: products of matrices of 8,204 columns take up to half as long again as of 8,208."""


def padded(columns: Float[np.ndarray, "N C"], features: int) -> Float[np.ndarray, "N P"]:
    """The columns, and zeros after them so that a matrix of `features` columns gets a width in whole cache lines."""
    return np.ascontiguousarray(np.pad(columns, ((0, 0), (0, -features % ALIGNED))))


def unnamed(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """A half-precision array in a file without a name in this folder.

    Raises:
        OSError: the disk has no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if 0 in shape:
        return np.empty(shape, dtype=np.float16)
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, 2 * shape[0] * shape[1])  # a full disk raises now instead of a fault later
        return np.memmap(file, dtype=np.float16, mode="w+", shape=shape)


@dataclass(frozen=True)
class MatrixRows:
    """Some rows of a matrix, not copied out of it."""

    matrix: FeatureMatrix
    numbers: Int[Tensor, " row"]

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "B P"]:
        return self.matrix.batch(self.numbers[rows.to(self.numbers.device)])

    def where(self, kept: np.ndarray) -> "MatrixRows":
        """The rows that a mask or numbers select."""
        return MatrixRows(self.matrix, self.numbers[torch.from_numpy(kept).to(self.numbers.device)])

    def parts(self) -> Iterator[Float[Tensor, "B P"]]:
        """All rows, some at a time."""
        for numbers in self.numbers.split(READ_ROWS):
            yield self.matrix.batch(numbers)

    def array(self, learning: str | None = None) -> Float[np.ndarray, "row F"]:
        """A copy of all rows, without the zeros that pad them.

        Args:
            learning: what is to be learnt from it; what that is not learnt from is zero.
        """
        parts = [part.cpu().numpy() for part in self.parts()] or [np.empty((0, self.matrix.width))]
        copy = np.concatenate(parts)[:, : self.matrix.features]
        copy[:, self.matrix.hidden.get(learning or "", [])] = 0
        return copy


@dataclass(frozen=True)
class JoinedRows:
    """Rows of a matrix, and behind them rows of another with the same columns; neither is copied."""

    first: MatrixRows
    second: MatrixRows

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def matrix(self) -> FeatureMatrix:
        """The first's, which says what all columns are."""
        return self.first.matrix

    def parts(self) -> Iterator[Float[Tensor, "B P"]]:
        """All rows, some at a time."""
        yield from self.first.parts()
        yield from self.second.parts()

    def batch(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "B P"]:
        """Some rows as the networks take them."""
        rows = rows.to(self.matrix.visual.device)
        inside = rows < len(self.first)
        x = torch.empty((len(rows), self.matrix.width), device=rows.device)
        x[inside] = self.first.batch(rows[inside])
        x[~inside] = self.second.batch(rows[~inside] - len(self.first))
        return x
