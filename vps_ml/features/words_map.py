"""From the words of a listing to what price models take: weighted, reduced, of the size of visual features.

Axes: N listing, H hash, K kept hash, E encoded feature, R, D reduced feature of each, F = R + D.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from vps_ml.words.files import WordFeatures
from vps_ml.words.hashing import HASHES

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEWEST_TEXTS = 2
"""Training texts that have a word; one that only one has is as good as unknown."""
MOST_HASHES = 40_000
"""Of each kind that are kept, the most frequent: 20 MB of axes."""
LEAST_SPREAD = 1e-3
"""Of the components: where sellers all say the same, nothing is told apart, and there are no features of it."""
PREFIX = "words."


@dataclass(frozen=True)
class WordsMap:
    """TF-IDF of hashed words reduced by a truncated SVD ("LSA", Deerwester et al., 1990), and encoded sentences reduced
    to principal components; fitted on training rows. A listing without words is zero, the training mean."""

    kept: Int[np.ndarray, " K"]
    """Hashes, words before pieces of words."""
    idf: Float[np.ndarray, " K"]
    axes: Float[np.ndarray, "K R"]
    """In half precision."""
    mean: Float[np.ndarray, " R"]
    encoded_mean: Float[np.ndarray, " E"]
    encoded_axes: Float[np.ndarray, "E D"]

    @classmethod
    def fitted(cls, words: WordFeatures, components: int, seed: int) -> "WordsMap":
        """The map of training rows; those without words have no part in it."""
        from sklearn.decomposition import TruncatedSVD

        from vps_ml.features.scaling import principal_axes

        there = np.flatnonzero(np.diff(words.hashed.indptr) > 0)
        words = words.rows(there)
        kept, idf = weights(words.hashed)
        axes, mean = np.zeros((len(kept), 0), dtype=np.float16), np.zeros(0, dtype=np.float32)
        most, weighted = min(components, len(kept) - 1, len(words) - 1), tf_idf(words.hashed, kept, idf)
        if most > 0 and total_variance(weighted) > LEAST_SPREAD:
            svd = TruncatedSVD(most, n_iter=4, random_state=seed)
            size = np.sqrt(svd.fit_transform(weighted).var(axis=0).mean())
            if size > LEAST_SPREAD:
                axes = (svd.components_.T / size).astype(np.float16)
                mean = (weighted @ axes.astype(np.float32)).mean(axis=0)
        width = words.encoded.shape[1]
        encoded = np.zeros(width, dtype=np.float32), np.zeros((width, 0), dtype=np.float32)
        if len(words) > 1 and width and words.encoded.astype(np.float32).std(axis=0).mean() > LEAST_SPREAD:
            encoded = principal_axes(words.encoded, min(components, width, len(words) - 1), seed)
        return cls(kept, idf, axes, mean, *encoded)

    @property
    def width(self) -> int:
        """Number of features after the map."""
        return self.axes.shape[1] + self.encoded_axes.shape[1]

    @property
    def parts(self) -> tuple[int, ...]:
        """How many features come from hashed words, and from encoded sentences."""
        return self.axes.shape[1], self.encoded_axes.shape[1]

    def features(self, words: WordFeatures) -> Float[np.ndarray, "N F"]:
        """The words as price models take them."""
        out = np.zeros((len(words), self.width), dtype=np.float32)
        there = np.flatnonzero(np.diff(words.hashed.indptr) > 0)
        said = words.rows(there)
        if self.axes.shape[1]:
            out[there, : self.axes.shape[1]] = (
                tf_idf(said.hashed, self.kept, self.idf) @ self.axes.astype(np.float32) - self.mean
            )
        if self.encoded_axes.shape[1]:
            centred = said.encoded.astype(np.float32) - self.encoded_mean
            out[there, self.axes.shape[1] :] = centred @ self.encoded_axes
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """What an artefact keeps, under flat names."""
        return {f"{PREFIX}{name}": value for name, value in vars(self).items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "WordsMap | None":
        """The map of these arrays; None if it is not among them."""
        own = {name.removeprefix(PREFIX): value for name, value in arrays.items() if name.startswith(PREFIX)}
        return cls(**own) if own else None


def total_variance(weighted: "csr_matrix") -> float:
    """The sum of the columns' variances: of rows of length about one, between 0 (all alike) and 2."""
    squares, means = weighted.multiply(weighted).mean(axis=0), weighted.mean(axis=0)
    return float((squares - np.square(means)).sum())


def weights(hashed: "csr_matrix") -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """(hashes to keep, ascending, their inverse document frequency, smoothed as scikit-learn's)."""
    texts = np.bincount(hashed.indices, minlength=hashed.shape[1])
    kept = []
    for first in (0, HASHES):
        own = texts[first : first + HASHES]
        frequent = np.argsort(-own, kind="stable")[:MOST_HASHES]
        kept.append(first + np.sort(frequent[own[frequent] >= FEWEST_TEXTS]))
    chosen = np.concatenate(kept)
    idf = np.log((1 + hashed.shape[0]) / (1 + texts[chosen])) + 1
    return chosen.astype(np.int32), idf.astype(np.float32)


def tf_idf(hashed: "csr_matrix", kept: Int[np.ndarray, " K"], idf: Float[np.ndarray, " K"]) -> "csr_matrix":
    """The kept hashes, weighted; words and pieces of words each of length one."""
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    weighted = hashed[:, kept].multiply(idf).tocsr()
    pieces = int(np.searchsorted(kept, HASHES))
    parts = [weighted[:, :pieces], weighted[:, pieces:]]
    return hstack([normalize(part) if min(part.shape) else part for part in parts], format="csr")
