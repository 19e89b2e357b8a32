"""Words on disk: one immutable safetensors file per listing date, hashed words as a sparse matrix, encoded beside it.

Axes: N text, H hash, E feature.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float16

from vps_ml.backbones.files import Read, save_arrays, tensors
from vps_ml.words.hashing import HASHES

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

INDICES, ENDS, ENCODED = "hashed_indices", "hashed_ends", "encoded"


@dataclass(frozen=True)
class WordFeatures:
    """The words of some listings."""

    hashed: "csr_matrix"
    """Which words and pieces stand in each text (N 2·H)."""
    encoded: Float16[np.ndarray, "N E"]
    """E is 0 without an encoder."""

    def __len__(self) -> int:
        return self.encoded.shape[0]

    def rows(self, numbers: np.ndarray) -> "WordFeatures":
        """The words of these."""
        return WordFeatures(self.hashed[numbers], self.encoded[numbers])


def save_words(path: Path, words: WordFeatures, text_hashes: Sequence[str] = ()) -> None:
    """Write a date's file, whole or not at all."""
    hashed = words.hashed
    arrays = {INDICES: hashed.indices.astype(np.int32), ENDS: hashed.indptr.astype(np.int64), ENCODED: words.encoded}
    save_arrays(path, arrays, text_hashes)


def load_words(path: Path, read: Read = tensors) -> WordFeatures:
    """A date's words.

    Raises:
        DamagedArtefact: the file is not what was written, or is gone.
    """
    return as_words(read(path, None))


def as_words(arrays: Mapping[str, np.ndarray]) -> WordFeatures:
    """The words of a file's arrays."""
    from scipy.sparse import csr_matrix

    indices, ends = arrays[INDICES], arrays[ENDS]
    ones = np.ones(len(indices), dtype=np.float32)
    return WordFeatures(csr_matrix((ones, indices, ends), shape=(len(ends) - 1, 2 * HASHES)), arrays[ENCODED])


def joined_words(blocks: Iterable[tuple[np.ndarray, WordFeatures]]) -> WordFeatures:
    """Blocks of words, of at least one row, in the order of their positions."""
    parts = list(blocks)
    order = np.argsort(np.concatenate([where for where, _ in parts]), kind="stable")
    return stacked([words for _, words in parts]).rows(order)


def stacked(parts: Sequence[WordFeatures]) -> WordFeatures:
    """Words of at least one part, one part's after the other's."""
    from scipy.sparse import vstack

    hashed = vstack([words.hashed for words in parts], format="csr")
    return WordFeatures(hashed, np.concatenate([words.encoded for words in parts]))


def word_blocks(
    paths: Sequence[Path], rows: Sequence[int], read: Read = tensors
) -> Iterator[tuple[np.ndarray, WordFeatures]]:
    """(positions among the requested rows, their words), file by file."""
    path_of, row_of = np.asarray([str(path) for path in paths]), np.asarray(rows, dtype=np.int64)
    for path in np.unique(path_of):
        where = np.flatnonzero(path_of == path)
        yield where, load_words(Path(str(path)), read).rows(row_of[where])
