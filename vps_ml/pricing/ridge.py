"""Ridge regression on weighted words: what a user would try first on titles.

Axes: N item, K kept hash, F dense feature, P = K + F.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from vps_ml.features.words_map import tf_idf, weights
from vps_ml.pricing.folds import fold_of_group

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PENALTY = 2.0
FOLDS = 5
LEAST_EXPECTED_ERROR = 0.02
"""ln units: a linear model may expect less than nothing."""


@dataclass(frozen=True)
class WordsRidge:
    """A linear price and a linear expected error, of TF-IDF of hashed words beside dense features."""

    kept: Int[np.ndarray, " K"]
    idf: Float[np.ndarray, " K"]
    scale: Float[np.ndarray, " F"]
    """What the dense features are multiplied by."""
    price_weights: Float[np.ndarray, " P"]
    error_weights: Float[np.ndarray, " P"]
    intercepts: Float[np.ndarray, " 2"]

    @classmethod
    def fitted(
        cls,
        hashed: "csr_matrix",
        dense: Float[np.ndarray, "N F"],
        scale: Float[np.ndarray, " F"],
        price: Float[np.ndarray, " N"],
        group: np.ndarray,
        seed: int,
    ) -> "WordsRidge":
        """Fitted on training rows; errors are learnt from machines that did not see the item's group."""
        kept, idf = weights(hashed)
        x = joined(hashed, dense, kept, idf, scale)
        fold, residual = fold_of_group(group, FOLDS, seed), np.zeros(len(price))
        for k in range(FOLDS):
            coefficients, intercept = linear(x[fold != k], price[fold != k])
            residual[fold == k] = price[fold == k] - (x[fold == k] @ coefficients + intercept)
        of_price, of_error = (linear(x, target) for target in (price, np.abs(residual)))
        intercepts = np.array([of_price[1], of_error[1]])
        return cls(kept, idf, scale, of_price[0], of_error[0], intercepts)

    def judge(
        self, hashed: "csr_matrix", dense: Float[np.ndarray, "N F"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """(log prices, expected |error|s in ln units)."""
        x = joined(hashed, dense, self.kept, self.idf, self.scale)
        price, error = (
            x @ w + b for w, b in zip((self.price_weights, self.error_weights), self.intercepts, strict=True)
        )
        return price, np.maximum(error, LEAST_EXPECTED_ERROR)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "WordsRidge":
        return cls(**arrays)


def joined(
    hashed: "csr_matrix",
    dense: Float[np.ndarray, "N F"],
    kept: Int[np.ndarray, " K"],
    idf: Float[np.ndarray, " K"],
    scale: Float[np.ndarray, " F"],
) -> "csr_matrix":
    """Weighted words and scaled dense features side by side."""
    from scipy.sparse import csr_matrix, hstack

    return hstack([tf_idf(hashed, kept, idf), csr_matrix(dense * scale)], format="csr")


def linear(x: "csr_matrix", target: Float[np.ndarray, " N"]) -> tuple[np.ndarray, float]:
    """(weights, intercept) of a ridge regression."""
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4).fit(x, target - target.mean())
    return fitted.coef_, float(fitted.intercept_) + float(target.mean())
