"""A price range that follows the market: adaptive conformal inference, one miss rate overall and one a category.

Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift" (2021): after each item whose price becomes
known, the miss rate that the next range aims at moves by γ (target - missed). A label counts from the day after the
sale on, as in every statistic here.

Axes: N item, C calibrating item.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from vps_ml.pricing.calibration import ALL, range_of_ordered

STEP = 0.02
"""γ: .05 and more was unstable, and wider, on the demo's newest days (docs/experiments.md)."""
PULL = 50.0
"""Sold items at which a category's own miss rate counts as much as the overall one."""
LEAST, MOST = 0.02, 0.5
"""A miss rate outside is brought back: a range must neither be endless nor a point."""


@dataclass
class MissRates:
    """The state: which share of items the next ranges may miss."""

    target: float
    overall: float
    by_category: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Category -> (how much its own miss rate is above the overall one, sold items that it was learnt from)."""

    @classmethod
    def at_first(cls, level: float) -> "MissRates":
        return cls(1 - level, 1 - level)

    def of(self, category: str) -> float:
        """What a category's next range aims at: its own miss rate, pulled to the overall one where items are few."""
        above, items = self.by_category.get(category, (0.0, 0))
        return float(np.clip(self.overall + above * items / (items + PULL), LEAST, MOST))

    def learn(self, category: str, missed: bool) -> None:
        """Move after an item has sold: within its range, or not."""
        step = STEP * (self.target - missed)
        above, items = self.by_category.get(category, (0.0, 0))
        # The overall rate takes the step; what a category takes beyond is its own.
        self.overall = float(np.clip(self.overall + step, LEAST, MOST))
        self.by_category[category] = (float(np.clip(above + step, -MOST, MOST)), items + 1)

    def centred(self) -> "MissRates":
        """The same without the part of the categories' own rates that all of them share: the overall rate has it."""
        items = sum(count for _, count in self.by_category.values())
        if not items:
            return self
        common = sum(above * count for above, count in self.by_category.values()) / items
        moved = {name: (above - common, count) for name, (above, count) in self.by_category.items()}
        return MissRates(self.target, self.overall, moved)

    def segments(self) -> dict[str, tuple[float, int]]:
        """Segment -> (the miss rate in force, sold items that it was learnt from), the overall one first."""
        items = sum(count for _, count in self.by_category.values())
        rates = {name: (self.of(name), count) for name, (_, count) in sorted(self.by_category.items())}
        return {ALL: (self.overall, items), **rates}


@dataclass(frozen=True)
class Sold:
    """Sold and qualified items that the model had not learnt from."""

    listed_day: Int[np.ndarray, " N"]
    sold_day: Int[np.ndarray, " N"]
    category: np.ndarray
    scaled_residual: Float[np.ndarray, " N"]
    """(y - f_reg) over the expected |error|."""


@dataclass(frozen=True)
class Replay:
    """What every item's range would have been, had it been given on its listing day."""

    low: Float[np.ndarray, " N"]
    """Ends of the range in multiples of the expected error."""
    high: Float[np.ndarray, " N"]
    covered: Bool[np.ndarray, " N"]
    by_day: Mapping[int, MissRates]
    """Day -> the state in force on it."""
    now: MissRates
    """After the last sale."""


def replayed(sold: Sold, calibrating: Float[np.ndarray, " C"], level: float) -> Replay:
    """Walk the days: each day's ranges are given with what had sold before it, and learnt from once they have sold.

    On days on which something was listed, or that follow a sale: between them nothing changes. So the state of a day is
    that of the sales before it, and not of whether one of its own listings has sold since.

    Args:
        sold: the items, in any order.
        calibrating: scaled residuals of the items that calibrated the model.
        level: the range's nominal coverage.
    """
    rates = MissRates.at_first(level)
    low, high = np.zeros(len(sold.listed_day)), np.zeros(len(sold.listed_day))
    covered = np.zeros(len(sold.listed_day), dtype=bool)
    by_day: dict[int, MissRates] = {}
    ordered = np.sort(calibrating)
    waiting = np.lexsort((np.arange(len(sold.sold_day)), sold.sold_day)).tolist()
    for day in np.union1d(sold.listed_day, sold.sold_day + 1).tolist():
        waiting = learnt_until(day, waiting, sold, covered, rates)
        by_day[day] = MissRates(rates.target, rates.overall, dict(rates.by_category)).centred()
        for item in np.flatnonzero(sold.listed_day == day):
            ends = range_of_ordered(ordered, 1 - by_day[day].of(str(sold.category[item])))
            low[item], high[item] = ends
            covered[item] = ends[0] <= sold.scaled_residual[item] <= ends[1]
    learnt_until(np.iinfo(np.int64).max, waiting, sold, covered, rates)
    return Replay(low, high, covered, by_day, rates.centred())


def learnt_until(
    day: int, waiting: list[int], sold: Sold, covered: Bool[np.ndarray, " N"], rates: MissRates
) -> list[int]:
    """Learn from the waiting items that sold before this day, in the order of sale; those that wait on."""
    ready = [item for item in waiting if sold.sold_day[item] < day and sold.listed_day[item] < day]
    for item in ready:
        rates.learn(str(sold.category[item]), not covered[item])
    taken = set(ready)
    return [item for item in waiting if item not in taken]


def rates_as_of(range_adaptation: pl.DataFrame, model_id: str, listings: pl.DataFrame) -> Float[np.ndarray, " N"]:
    """What share of each listing's ranges may miss, as of its listing day; NaN where nothing was known by then.

    Of its category, or overall where nothing of the category has sold. As statistics are: what a listing is told does
    not depend on when it is made again.

    Args:
        range_adaptation: the table of that name.
        model_id: the model that prices.
        listings: with `listed_on` and `category`.
    """
    states = range_adaptation.filter(pl.col("model_id") == model_id).sort("as_of")
    rates = states.select("as_of", "segment", "miss_rate")
    asked = listings.select("listed_on", "category", segment=pl.lit(ALL)).with_row_index("_order").sort("listed_on")
    found = asked
    for name, key in (("_own", "category"), ("_all", "segment")):
        right = rates.rename({"segment": key, "miss_rate": name})
        found = found.join_asof(
            right, left_on="listed_on", right_on="as_of", by=key, strategy="backward", check_sortedness=False
        ).drop("as_of")
    of_each = found.sort("_order").select(pl.coalesce("_own", "_all").cast(pl.Float64).fill_null(float("nan")))
    return of_each.to_series().to_numpy()


def rates_in_force(range_adaptation: pl.DataFrame, model_id: str) -> dict[str, float]:
    """Segment -> the miss rate in force now; empty if nothing has sold that the model has not learnt from.

    Args:
        range_adaptation: the table of that name.
        model_id: the model that prices; another's rates say nothing of its ranges.
    """
    own = range_adaptation.filter(pl.col("model_id") == model_id)
    newest = own.filter(pl.col("as_of") == pl.col("as_of").max())
    return dict(newest.select("segment", "miss_rate").iter_rows())
