"""The matrix that price networks are trained on, held once: a float array, or half precision in a mapped file.

Axes: N row, V visual feature, S statistic, F = V + S feature of the price networks, P padded, B row of a batch.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vps_ml.backbones.networks import accelerator
from vps_ml.features.scaling import FeatureMap

Block = tuple[Int[np.ndarray, " row"], np.ndarray]
"""Numbers of rows of the matrix, and their raw visual features."""
READ_ROWS = 8192
"""Rows that are made float at a time to predict: 270 MB at the paper's 8,204 features."""


@dataclass(frozen=True)
class FeatureMatrix:
    """All rows of a pricing table as its price networks see them; on a GPU it lies there, so that nothing is loaded."""

    visual: Tensor
    """(N V): float where the features are reduced, half precision otherwise."""
    statistics: Float[Tensor, "N P"]
    """The statistics, and columns of zeros that make the width a multiple of `ALIGNED`."""
    features: int
    """F: how many columns say something."""

    @classmethod
    def of(cls, array: Float[np.ndarray, "N F"]) -> "FeatureMatrix":
        """A small matrix that is an array already."""
        x = padded(np.asarray(array, dtype=np.float32), array.shape[1])
        return cls(torch.from_numpy(x).to(accelerator()), torch.empty((len(x), 0)), array.shape[1])

    @classmethod
    def assembled(
        cls, feature_map: FeatureMap, blocks: Iterable[Block], statistics: Float[np.ndarray, "N S"], scratch: Path
    ) -> "FeatureMatrix":
        """Every block through the feature map, straight to its place: memory holds one block beside the matrix.

        Reduced features are a float array. The paper's 8,192 are standardised and kept in half precision in a file
        under `scratch` that has no name, so the system frees it with this process, whichever way that ends.
        """
        features = feature_map.width + statistics.shape[1]
        standard = padded(feature_map.standardised(statistics), features)
        shape = len(statistics), feature_map.width
        visual = np.empty(shape, dtype=np.float32) if feature_map.reduces else unnamed(scratch, shape)
        for rows, raw in blocks:
            visual[rows] = feature_map.seen(raw)
        device = accelerator()
        return cls(torch.from_numpy(visual).to(device), torch.from_numpy(standard).to(device), features)

    @property
    def width(self) -> int:
        """How many columns a network sees."""
        return self.visual.shape[1] + self.statistics.shape[1]

    def batch(self, rows: Int[Tensor, " B"]) -> Float[Tensor, "B P"]:
        """Some rows as the networks take them."""
        if not self.statistics.shape[1]:
            return self.visual[rows].float()
        x = torch.empty((len(rows), self.width), device=self.visual.device)
        x[:, : self.visual.shape[1]] = self.visual[rows]
        x[:, self.visual.shape[1] :] = self.statistics[rows]
        return x

    def rows(self, numbers: Int[np.ndarray, " row"]) -> "MatrixRows":
        return MatrixRows(self, torch.from_numpy(np.asarray(numbers, dtype=np.int64)).to(self.visual.device))


ALIGNED = 16
"""Columns in a cache line: products of matrices of 8,204 columns take up to half as long again as of 8,208."""


def padded(columns: Float[np.ndarray, "N C"], features: int) -> Float[np.ndarray, "N P"]:
    """The columns with zeros behind them, so many that a matrix of `features` columns gets a width to a cache line."""
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
        os.posix_fallocate(file.fileno(), 0, 2 * shape[0] * shape[1])  # a full disk is told now, not by a fault later
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
        """Those of the rows that a mask or numbers tell."""
        return MatrixRows(self.matrix, self.numbers[torch.from_numpy(kept).to(self.numbers.device)])

    def parts(self) -> Iterator[Float[Tensor, "B P"]]:
        """All rows, some at a time."""
        for numbers in self.numbers.split(READ_ROWS):
            yield self.matrix.batch(numbers)

    def array(self) -> Float[np.ndarray, "row F"]:
        """A copy of all the rows, for those who take no less."""
        parts = [part.cpu().numpy() for part in self.parts()] or [np.empty((0, self.matrix.width))]
        return np.concatenate(parts)[:, : self.matrix.features]
