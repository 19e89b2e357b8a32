"""Support vector regression with a Gaussian kernel: exact where rows are few, on landmarks beyond.

Axes: N item, F feature, M support vector or landmark.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_EXACT = 10_000
"""Rows; beyond, the cost of an exact machine (memory and time about quadratic in them) is out of proportion."""
CACHE_BYTES = 500 << 20
"""Of kernels of pairs that an exact machine keeps while it is fitted."""
LANDMARKS = 2048
MOST_PASSES = 100_000
"""Of the linear machine over the landmarks; it ends long before on real features."""
READ_ROWS = 4096
"""Rows whose kernel with all landmarks is held at a time."""


@dataclass(frozen=True)
class Kernel:
    """The settings of a machine."""

    penalty: float
    """C of the support vectors: how much an error beyond the tolerance costs."""
    tolerance: float
    """Errors below cost nothing, in units of what is predicted."""
    gamma: float
    """Of exp(-gamma |x - z|²)."""


@dataclass(frozen=True)
class KernelMachine:
    """f(x) = Σ weight · exp(-gamma |x - point|²) + intercept."""

    points: Float[np.ndarray, "M F"]
    weights: Float[np.ndarray, " M"]
    intercept: float
    gamma: float

    def predict(self, x: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        """The predictions for some rows, a part of them at a time.

        By hand: scikit-learn would take longer to import than one suggestion to make.
        """
        points = self.points.astype(np.float64)
        squares, parts = np.square(points).sum(axis=1), [np.empty(0)]
        for start in range(0, len(x), READ_ROWS):
            part = x[start : start + READ_ROWS].astype(np.float64)
            distance = np.square(part).sum(axis=1)[:, None] + squares - 2 * part @ points.T
            parts.append(np.exp(-self.gamma * np.maximum(distance, 0)) @ self.weights)
        return np.concatenate(parts) + self.intercept

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """What an artefact keeps, under flat names."""
        numbers = {"intercept": np.array([self.intercept]), "gamma": np.array([self.gamma])}
        return {f"{name}.{key}": v for key, v in {"points": self.points, "weights": self.weights, **numbers}.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], name: str) -> "KernelMachine":
        """The machine of this name in `arrays`."""
        part = {key: arrays[f"{name}.{key}"] for key in ("points", "weights", "intercept", "gamma")}
        return cls(part["points"], part["weights"], float(part["intercept"][0]), float(part["gamma"][0]))


def fit_kernel_machine(
    x: Float[np.ndarray, "N F"], target: Float[np.ndarray, " N"], kernel: Kernel, seed: int
) -> KernelMachine:
    """Support vector regression: absolute error beyond a tolerance, so an absurd price pulls no harder than a bad one.

    On more than `MOST_EXACT` rows the kernel is that of `LANDMARKS` seeded rows (Nyström's method: Williams and Seeger,
    2001), and the machine linear in it.
    """
    from sklearn.kernel_approximation import Nystroem
    from sklearn.svm import SVR, LinearSVR

    x, centre = np.asarray(x, dtype=np.float64), float(target.mean())
    if len(x) <= MOST_EXACT:
        exact = SVR(C=kernel.penalty, epsilon=kernel.tolerance, gamma=kernel.gamma, cache_size=CACHE_BYTES >> 20)
        exact.fit(x, target - centre)
        weights, intercept = exact.dual_coef_[0], float(exact.intercept_[0]) + centre
        return KernelMachine(exact.support_vectors_.astype(np.float32), weights, intercept, kernel.gamma)
    landmarks = Nystroem(gamma=kernel.gamma, n_components=LANDMARKS, random_state=seed).fit(x)
    linear = LinearSVR(C=kernel.penalty, epsilon=kernel.tolerance, max_iter=MOST_PASSES, tol=1e-3, random_state=seed)
    linear.fit(landmarks.transform(x), target - centre)
    weights = landmarks.normalization_.T @ linear.coef_
    points = landmarks.components_.astype(np.float32)
    return KernelMachine(points, weights, float(np.ravel(linear.intercept_)[0]) + centre, kernel.gamma)
