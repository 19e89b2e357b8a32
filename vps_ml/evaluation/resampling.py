"""What another draw of listings would have shown: a bootstrap over groups and seeds, the same draws for every model.

Groups are drawn, not listings: those of one physical item are not independent. Thresholds and models are held fixed.
Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 16.

Axes: N item, R resample, S seed, C comparison.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2000
WEIGHTS_AT_ONCE = 8_000_000
"""Bounds memory: numbers held, one weight per listing and draw."""
WIDE = 256
"""Numbers in a row from which on adding one row to the next is quicker than `np.cumsum`."""
LEVEL = 0.95
CANNOT_TELL = "cannot tell"
EQUAL_COVERAGES = (0.3, 0.5, 0.7)
"""At which models are held against each other, whatever their own thresholds take."""


@dataclass(frozen=True)
class Judged:
    """A model's predictions for some test listings."""

    log_error: Float[np.ndarray, " N"]
    """|predicted - actual|, in ln units."""
    qualification: Float[np.ndarray, " N"]

    @cached_property
    def order(self) -> Int[np.ndarray, " N"]:
        """The items' numbers, the most qualified first."""
        return np.argsort(-self.qualification, kind="stable")


Weights = Float[np.ndarray, "R N"]
"""How often each item was drawn."""
Metric = Callable[["Drawn"], Float[np.ndarray, " R"]]


@dataclass(frozen=True)
class Draws:
    """`RESAMPLES` seeded draws of as many groups as there are: every item's weight, some draws at a time.

    Iterated again, it gives the same draws.
    """

    group: Int[np.ndarray, " N"]
    """Each item's group, numbered from 0."""

    @cached_property
    def groups(self) -> int:
        return int(self.group.max(initial=-1)) + 1

    @cached_property
    def whole(self) -> Weights | None:
        """All draws at once, kept for the next model; None if they are too many to keep."""
        if RESAMPLES * self.group.size > WEIGHTS_AT_ONCE:
            return None
        return self.drawn(np.random.default_rng(0), RESAMPLES)

    def drawn(self, rng: np.random.Generator, draws: int) -> Weights:
        """So many draws."""
        shares = np.full(self.groups, 1 / self.groups)
        return rng.multinomial(self.groups, shares, size=draws).astype(float)[:, self.group]

    def __iter__(self) -> Iterator[Weights]:
        if self.whole is not None:
            yield self.whole
            return
        rng, at_once = np.random.default_rng(0), max(1, WEIGHTS_AT_ONCE // self.group.size)
        for start in range(0, RESAMPLES, at_once):
            yield self.drawn(rng, min(at_once, RESAMPLES - start))


def numbered(keys: np.ndarray) -> Int[np.ndarray, " N"]:
    """Each item's group as a number from 0."""
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def weighted_mean(values: Float[np.ndarray, " N"], weights: Weights) -> Float[np.ndarray, " R"]:
    """The mean of the drawn items' values; NaN where none was drawn."""
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)


@dataclass(frozen=True)
class Running:
    """Models' items in some draws, each model's most qualified first, and sums over the items up to each.

    Ties of qualification keep the order of the items, which is that of `listing_id` in the contract's definition. An
    item that was drawn twice stands in two places next to each other.
    """

    error: Float[np.ndarray, "N M"]
    """|predicted - actual|, in ln units."""
    taken: Float[np.ndarray, "N M R"]
    """How often the item was drawn."""
    items: Float[np.ndarray, "N M R"]
    errors: Float[np.ndarray, "N M R"]

    @classmethod
    def of(cls, log_error: Float[np.ndarray, "M N"], order: Int[np.ndarray, "M N"], weights: Weights) -> "Running":
        """Of items whose errors are by number, in each model's order (`Judged.order`)."""
        taken = np.ascontiguousarray(weights.T)[order.T]  # all draws of an item side by side
        error = np.take_along_axis(log_error, order, axis=1).T
        return cls(error, taken, summed_up(taken.copy()), summed_up(taken * error[:, :, None]))

    def aurc(self) -> Float[np.ndarray, "M R"]:
        """Area under the risk-coverage curve."""
        risk = self.errors / np.maximum(self.items, 1)
        risk *= self.taken
        return risk.sum(axis=0) / self.items[-1]

    def male_at(self, coverage: float) -> Float[np.ndarray, "M R"]:
        """Mean absolute log error of this share of the items; the last one counts with the part that is needed."""
        needed = coverage * self.items[-1]
        last = (self.items < needed).sum(axis=0)[None]
        items, errors = (np.take_along_axis(values, last, axis=0)[0] for values in (self.items, self.errors))
        error = np.take_along_axis(self.error, last[0].T, axis=0).T
        return (errors + (needed - items) * error) / needed


def summed_up(values: Float[np.ndarray, "N M R"]) -> Float[np.ndarray, "N M R"]:
    """Sums along the first axis, in place: those of `np.cumsum`, which takes five times as long with many draws."""
    if values[0].size < WIDE:
        return np.cumsum(values, axis=0, out=values)
    for before, following in pairwise(values):
        following += before
    return values


class Drawn:
    """A model's items in some draws; what several metrics need is computed once."""

    def __init__(self, judged: Judged, weights: Weights) -> None:
        self.judged, self.weights = judged, weights

    @cached_property
    def running(self) -> Running:
        return Running.of(self.judged.log_error[None], self.judged.order[None], self.weights)


def male_of_all(drawn: Drawn) -> Float[np.ndarray, " R"]:
    """Mean absolute log error of all items."""
    return weighted_mean(drawn.judged.log_error, drawn.weights)


def aurc(drawn: Drawn) -> Float[np.ndarray, " R"]:
    """Area under the risk-coverage curve."""
    return drawn.running.aurc()[0]


def aurcs(
    log_error: Float[np.ndarray, "M N"], order: Int[np.ndarray, "M N"], weights: Weights
) -> Float[np.ndarray, "M R"]:
    """`aurc` of several models on the same items.

    Args:
        log_error: |predicted - actual|, in ln units.
        order: each model's items, the most qualified first.
        weights: how often each item was drawn.
    """
    at_once = max(1, WEIGHTS_AT_ONCE // max(weights.size, 1))
    parts = [slice(start, start + at_once) for start in range(0, len(order), at_once)]
    found = [Running.of(log_error[part], order[part], weights).aurc() for part in parts]
    return np.concatenate([np.empty((0, len(weights))), *found])


def male_at(judged: Judged, weights: Weights, coverage: float) -> Float[np.ndarray, " R"]:
    """Mean absolute log error of the most qualified share of the items, each counted as often as its weight."""
    return Drawn(judged, weights).running.male_at(coverage)[0]


def male_at_coverage(coverage: float) -> Metric:
    return lambda drawn: drawn.running.male_at(coverage)[0]


def male(drawn: Drawn) -> Float[np.ndarray, " R"]:
    """Mean absolute log error of the items that the model's own threshold takes; NaN of none."""
    return weighted_mean(drawn.judged.log_error, drawn.weights * (drawn.judged.qualification >= 0.5))


def coverage(drawn: Drawn) -> Float[np.ndarray, " R"]:
    """The share of items that the model's own threshold takes."""
    return weighted_mean((drawn.judged.qualification >= 0.5).astype(float), drawn.weights)


COMPARED = ("aurc", "male_of_all", *(f"male_at_{coverage}" for coverage in EQUAL_COVERAGES))
"""What tells which of two models is better; of one without a gate `male_of_all` alone means something."""
AT_ITS_COVERAGE = "male_at_its_coverage"
"""Both models at the coverage that the served one really has on the test rows."""
METRICS: Mapping[str, Metric] = {
    "aurc": aurc,
    "male_of_all": male_of_all,
    **{f"male_at_{share}": male_at_coverage(share) for share in EQUAL_COVERAGES},
    "male": male,
    "coverage": coverage,
}


@dataclass(frozen=True)
class Resampled:
    """One metric of one kind of model: as measured, and in every draw of listings, for each seed."""

    measured: Float[np.ndarray, " S"]
    drawn: Float[np.ndarray, "S R"]


def resampled(seeds: Sequence[Judged], metrics: Mapping[str, Metric], draws: Draws) -> dict[str, Resampled]:
    """The metrics of a kind of model, trained with these seeds, on the same items."""
    return all_resampled([(seeds, metrics)], draws)[0]


def all_resampled(
    kinds: Sequence[tuple[Sequence[Judged], Mapping[str, Metric]]], draws: Draws
) -> list[dict[str, Resampled]]:
    """Of each kind of model the metrics that are asked for: all in the same draws, each of which is made once."""
    once = np.ones((1, draws.group.size))
    drawn = [{name: [values] for name, values in in_draws(*kind, once).items()} for kind in kinds]
    for weights in draws:
        for kind, parts in zip(kinds, drawn, strict=True):
            for name, values in in_draws(*kind, weights).items():
                parts[name].append(values)
    return [
        {name: Resampled(measured[:, 0], np.concatenate(parts, axis=1)) for name, (measured, *parts) in one.items()}
        for one in drawn
    ]


def in_draws(
    seeds: Sequence[Judged], metrics: Mapping[str, Metric], weights: Weights
) -> dict[str, Float[np.ndarray, "S R"]]:
    """Each metric of a kind of model in some draws, for each seed."""
    by_seed = [
        {name: metric(drawn) for name, metric in metrics.items()} for drawn in (Drawn(j, weights) for j in seeds)
    ]
    return {name: np.stack([found[name] for found in by_seed]) for name in metrics}


def middle(drawn: Float[np.ndarray, " R"]) -> tuple[float, float]:
    """Ends of the middle `LEVEL` of the draws that have a figure."""
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def middles(drawn: Float[np.ndarray, "M R"]) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """`middle` of each row; NaN of those that have no figure in any draw."""
    ordered = np.sort(drawn, axis=1)  # NaN last
    last = np.maximum(np.isfinite(drawn).sum(axis=1) - 1, 0)
    found = []
    for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        at = share * last
        before = np.floor(at).astype(np.int64)
        neighbours = np.stack([before, np.minimum(before + 1, last)], axis=1)
        low, high = np.take_along_axis(ordered, neighbours, axis=1).T
        found.append(low + (at - before) * (high - low))
    return found[0], found[1]


@dataclass(frozen=True)
class Difference:
    """One metric of a model less that of another, as measured and in every draw of listings and of seeds."""

    measured: float
    drawn: Float[np.ndarray, " R"]
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the middle `LEVEL` of the draws: for this comparison by itself."""
        return middle(self.drawn)


def difference(first: Resampled, second: Resampled) -> Difference:
    """The first model's metric less the second's, both on the same listings in each draw, and on the same seeds.

    Seeds are drawn with replacement, like listings: a difference between two lucky seeds is no difference.
    """
    mine = seeds_drawn(len(first.measured), first.drawn.shape[1], 1)
    same = len(first.measured) == len(second.measured)
    other = mine if same else seeds_drawn(len(second.measured), second.drawn.shape[1], 2)
    drawn = (mine * first.drawn).sum(axis=0) - (other * second.drawn).sum(axis=0)
    seeds = min(len(first.measured), len(second.measured))
    return Difference(float(first.measured.mean() - second.measured.mean()), drawn, seeds)


def seeds_drawn(seeds: int, resamples: int, stream: int) -> Float[np.ndarray, "S R"]:
    """The share that each seed has in each draw of as many seeds as there are."""
    drawn = np.random.default_rng(stream).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    return drawn.T / seeds


def simultaneous(differences: Sequence[Difference]) -> list[tuple[float, float]]:
    """Intervals that all hold at once in `LEVEL` of the draws, so that the best of many comparisons is not luck.

    Each is its difference ± c standard errors, c being the `LEVEL` quantile over the draws of the largest deviation
    among all comparisons, in standard errors: the single-step max-t method of Westfall and Young (Resampling-Based
    Multiple Testing, 1993); comparisons that move together cost less than Bonferroni's.
    """
    if not differences:
        return []
    drawn = np.stack([d.drawn for d in differences])
    measured = np.array([d.measured for d in differences])
    error = np.maximum(np.nanstd(drawn, axis=1), 1e-12)
    deviation = np.abs(drawn - np.nanmean(drawn, axis=1, keepdims=True)) / error[:, None]
    c = float(np.quantile(np.nan_to_num(deviation).max(axis=0), LEVEL))
    return [(float(m - c * e), float(m + c * e)) for m, e in zip(measured, error, strict=True)]


def verdict(low: float, high: float) -> str:
    """Whether the first model has less error than the second: yes, no, or cannot tell, by an interval."""
    if high < 0:
        return "yes"
    return "no" if low > 0 else CANNOT_TELL
