"""How far off a price will be, from the items that are like it.

Axes: N item, F feature, M training item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from vps_ml.features.matrix import MatrixRows
from vps_ml.pricing import distances
from vps_ml.pricing.distances import Rows, parts_of, seeded_choice
from vps_ml.pricing.kernels import KernelMachine

NEAREST = 10
"""Comparables of an item."""
MOST_NUMBERS = 100_000_000
"""Of the training items' features, which are 200 MB: 12,000 items at the paper's 8,200 features."""
AT_A_TIME, READ_ROWS = 512, 4096
"""Items whose distances to all training items are held at once, some 80 MB where these are 40,000; training items
whose features are made single precision at once."""
SOUGHT_AT_ONCE = 8
"""Items whose nearest are sought at once: of some hundred, the numbers of all that are not would be new memory, whose
first touch takes ten times as long."""
PRICE_WEIGHS = 0.3
"""In the distance of an error machine: a standard deviation of the price that is suggested."""
LEAST_EXPECTED_ERROR = 0.02
"""ln units: a machine may predict less than nothing, and comparables may all have had the same price."""
SCALE, ERROR_SCALE, NUMBERS = "scale", "error_scale", "numbers"


@dataclass(frozen=True)
class Comparables:
    """Sold items: a price is as far off, on average, as it would be if the item sold for what they did.

    Sold items of training alone, so of an item that a model has learnt from it would say too little.
    """

    points: Float[np.ndarray, "M F"]
    """Their features, scaled, in half precision."""
    log_price: Float[np.ndarray, " M"]
    scale: Float[np.ndarray, " F"]
    """Of the features, in the distance."""

    @cached_property
    def squares(self) -> Float[np.ndarray, " M"]:
        """Squared norm of each training item's features."""
        parts = [np.square(part).sum(axis=1) for part in self.parts()]
        return np.concatenate(parts)

    def parts(self) -> Iterator[Float[np.ndarray, "M F"]]:
        """The training items' features in single precision, some items at a time."""
        for start in range(0, len(self.points), READ_ROWS):
            yield self.points[start : start + READ_ROWS].astype(np.float32)

    @classmethod
    def among(
        cls, x: MatrixRows, price: Float[np.ndarray, " N"], group: np.ndarray, scale: Float[np.ndarray, " F"], seed: int
    ) -> "Comparables":
        """The training rows, or a seeded choice of them.

        Args:
            x: their features.
            price: their log prices.
            group: each row's group.
            scale: of the features.
            seed: of the choice.
        """
        most = min(distances.MOST_ROWS, MOST_NUMBERS // x.matrix.features)
        chosen = seeded_choice(group, seed, most)
        points = [(part * scale).astype(np.float16) for part in parts_of(x.where(chosen))]
        return cls(np.concatenate(points), price[chosen], scale)

    def nearest(self, x: Float[np.ndarray, "N F"]) -> np.ndarray:
        """The numbers of the `NEAREST` training items of each item (N NEAREST), in no order."""
        count = min(NEAREST, len(self.points))
        found = [np.empty((0, count), dtype=np.int64)]
        held = np.empty((min(AT_A_TIME, len(x)), len(self.points)), dtype=np.float32)
        for start in range(0, len(x), AT_A_TIME):
            items = np.asarray(x[start : start + AT_A_TIME] * self.scale, dtype=np.float32)
            apart, done = held[: len(items)], 0
            for part in self.parts():
                np.matmul(items, part.T, out=apart[:, done : done + len(part)])
                done += len(part)
            apart *= -2
            apart += self.squares  # less the item's own square, which is the same for all
            for first in range(0, len(apart), SOUGHT_AT_ONCE):
                some = apart[first : first + SOUGHT_AT_ONCE]
                found.append(np.argpartition(some, count - 1, axis=1)[:, :count].copy())  # not all that it is part of
        return np.concatenate(found)

    def expected_error(self, x: Rows, price: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The mean |difference| of these prices from what the nearest items sold for, in ln units."""
        nearest = np.concatenate([self.nearest(part) for part in parts_of(x)] or [np.empty((0, 1), dtype=np.int64)])
        apart = np.abs(self.log_price[nearest] - price[:, None]).mean(axis=1)
        return np.maximum(apart, LEAST_EXPECTED_ERROR)

    def arrays(self) -> dict[str, np.ndarray]:
        """What an artefact keeps, under flat names."""
        return {"comparables.points": self.points, "comparables.log_price": self.log_price, ERROR_SCALE: self.scale}


@dataclass(frozen=True)
class ErrorMachine:
    """Support vectors of |log error|: what blends had before they had comparables; those in force go on with it."""

    machine: KernelMachine
    scale: Float[np.ndarray, " F"]
    price_centre: float
    price_scale: float

    def expected_error(self, x: Rows, price: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The expected |error| of these prices, in ln units, up to a factor: nearer to the median than to the mean."""
        found, start = [np.empty(0)], 0
        standard = (price - self.price_centre) / self.price_scale
        for part in parts_of(x):
            beside = with_price(part * self.scale, standard[start : start + len(part)])
            found.append(self.machine.predict(beside))
            start += len(part)
        return np.maximum(np.concatenate(found), LEAST_EXPECTED_ERROR)


def with_price(x: Float[np.ndarray, "N F"], standard_price: Float[np.ndarray, " N"]) -> np.ndarray:
    return np.concatenate([x, (PRICE_WEIGHS * standard_price)[:, None]], axis=1)


ExpectedError = Comparables | ErrorMachine


def error_of(arrays: Mapping[str, np.ndarray]) -> ExpectedError:
    """What was stored: comparables, or the machine of a blend of before."""
    if NUMBERS not in arrays:
        return Comparables(arrays["comparables.points"], arrays["comparables.log_price"], arrays[ERROR_SCALE])
    centre, spread = map(float, arrays[NUMBERS])
    return ErrorMachine(KernelMachine.of(arrays, "error"), arrays[SCALE], centre, spread)
