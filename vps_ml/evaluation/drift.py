"""Whether incoming data have changed: measures, each with the level that chance alone reaches on so few rows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BINS = 10
CHANCE_LEVEL = 0.999
"""One in a thousand checks on unchanged data exceeds the level that chance reaches."""


def largest_by_chance(degrees: float) -> float:
    """What a chi-square of so many degrees of freedom exceeds once in a thousand times."""
    from scipy.special import chdtri  # scipy.stats takes a third of the time in which the definitions load

    return float(chdtri(degrees, 1 - CHANCE_LEVEL))


@dataclass(frozen=True)
class Drift:
    """A measure, and the level that it reaches by chance alone."""

    size: float
    by_chance: float

    def beyond(self, threshold: float) -> bool:
        """Whether it is larger than a threshold and than chance explains."""
        return self.size > max(threshold, self.by_chance)


def population_stability(before: Float[np.ndarray, " a"], now: Float[np.ndarray, " b"]) -> Drift:
    """Population stability index of `now` against `before`, in bins of equal shares of `before`.

    PSI = Σ (q - p) ln(q / p), half a count added to each bin so that an empty one stays finite; by custom below .1
    is stable and above .25 is a shift. Without a shift it is (1/a + 1/b) times a chi-square of bins - 1 degrees
    (Yurdakul, Statistical Properties of Population Stability Index, 2018), which gives the level of chance.
    """
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = []
    for values in (before, now):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1) + 0.5
        shares.append(counts / counts.sum())
    p, q = shares
    size = float(((q - p) * np.log(q / p)).sum())
    return Drift(size, (1 / before.size + 1 / now.size) * largest_by_chance(float(max(edges.size, 1))))


def mean_shift(before: Float[np.ndarray, "a feature"], now: Float[np.ndarray, "b feature"]) -> Drift:
    """How far the mean has moved, in units of the spread of `before`: |m_now - m_before| / sqrt(trace of covariance).

    Without a shift its square is about (1/a + 1/b) on average, whatever the features; the level of
    chance is that of a chi-square of as many degrees as the spectrum effectively has (participation ratio).
    """
    centred = before - before.mean(axis=0)
    spread = float(np.square(centred).sum() / len(before))
    if spread == 0:
        return Drift(0.0, 0.0)
    gram = centred @ centred.T if len(before) < before.shape[1] else centred.T @ centred
    effective = max(1.0, (spread * len(before)) ** 2 / float(np.square(gram).sum()))
    size = float(np.sqrt(np.square(now.mean(axis=0) - before.mean(axis=0)).sum() / spread))
    by_chance = np.sqrt((1 / len(before) + 1 / len(now)) * largest_by_chance(effective) / effective)
    return Drift(size, float(by_chance))
