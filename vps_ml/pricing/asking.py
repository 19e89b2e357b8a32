"""What to ask for an item: which price sells within some days with some chance, and which brings most.

Not the hazard's ratio turned round. Who asks more than is suggested has, most often, a better item than its photo
tells: such items sell nearly as fast as others, and whoever asks more for the *same* item waits longer than they did.
The ratio is what the item is asked above its own price and how far off the suggestion is, together:

    ln(asking / suggested) = ln(asking / sold) + ln(sold / suggested)

and only the first slows a sale. What it is can be seen of items that sold. So the hazard's change with the ratio is
divided by the share of the ratio that is the first (regression calibration for a covariate with error: Carroll,
Ruppert, Stefanski and Crainiceanu, Measurement Error in Nonlinear Models (2006), chapter 4), anew for the items that
are left at each age, who are the dear ones (Xie, Wang and Prentice, "A risk set calibration method for failure time
regression by using a covariate reliability sample", J. R. Statist. Soc. B 63 (2001)); and the chance at a price is
averaged over how far off suggestions are.

Axes: D draw (the first is the estimate), G price, E error of a suggestion, T day.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from vps_ml.pricing.selling import (
    AGE_STARTS,
    DRAWS,
    LEVEL,
    MOST_DAYS,
    Hazard,
    Offered,
    at_least_once,
    bounded,
    stretch_of,
)

CHANCES = (0.5, 0.8)
"""For which the price is told that sells with them: an even chance, and a good one."""
RATIOS = np.linspace(-1.0, 1.0, 41)
"""ln(asking / suggested) that are looked through."""
ERRORS = 15
"""Quantiles of how far off suggestions are."""
FEWEST_AT_AGE = 30
"""Items that sold later, by which those that are left at an age are known."""
LEAST_SHARE = 0.01
"""Of the ratio that must surely be what is asked above the item's price, or nothing is told by it."""


@dataclass(frozen=True)
class Figure:
    """A figure, and the ends of the interval that holds it with `LEVEL` certainty."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, drawn: Float[np.ndarray, " D"]) -> "Figure":
        """The estimate, and the middle `LEVEL` of the draws after it."""
        return cls(float(drawn[0]), *map(float, interval(drawn)))


def interval(drawn: Float[np.ndarray, "D ..."]) -> tuple[Any, Any]:
    """Ends of the middle `LEVEL` of the draws, with the estimate, which is the first, between them."""
    low, high = np.quantile(drawn[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return np.minimum(low, drawn[0]), np.maximum(high, drawn[0])


@dataclass(frozen=True)
class Choice:
    """The hazard of an item whose price is chosen by the suggestion alone."""

    hazard: Hazard
    share: Float[np.ndarray, " D"]
    """Of the ratio, what is asked above the item's price."""
    ratio_left: Float[np.ndarray, " T"]
    """Mean ratio of the items that are left on a day."""
    above_left: Float[np.ndarray, " T"]
    """Mean ln(asking / sold) of those of them that sell."""
    error: Float[np.ndarray, " E"]
    """ln(sold / suggested)."""

    @classmethod
    def of(cls, hazard: Hazard, offered: Offered, seed: int = 0, draws: int = DRAWS) -> "Choice":
        """What sold items tell of the others."""
        sold = offered.where(offered.sold)
        error = np.quantile(sold.ratio - sold.above, (np.arange(ERRORS) + 0.5) / ERRORS)
        left = [left_at(offered, sold, start) for start in AGE_STARTS]
        of_day = np.array(left)[stretch_of(np.arange(MOST_DAYS))]
        share = np.array([1.0]) if len(sold) < FEWEST_AT_AGE else shares(sold, seed, draws)
        return cls(hazard, share, of_day[:, 0], of_day[:, 1], error)

    @property
    def tells(self) -> bool:
        """Whether what is asked surely slows the sale, and how much can be told."""
        surely = float(np.quantile(self.share, (1 - LEVEL) / 2)) > LEAST_SHARE
        return surely and float(np.quantile(self.hazard.of_ratio, (1 + LEVEL) / 2)) < 0

    def sold_within(self, ratio: Float[np.ndarray, " G"], category: str, days: int) -> Float[np.ndarray, "D G"]:
        """The chance of a sale within so many days, if this is asked whatever the item is worth."""
        hazard = self.hazard
        change = (hazard.of_ratio / self.share)[:, None]
        level = hazard.of_age + hazard.of_ratio[:, None] * self.ratio_left + hazard.own(category)[:, None]
        level = (level - change * self.above_left)[:, :days]  # of an item that is asked for at what it brings
        above = ratio[:, None] - self.error
        chances = [
            at_least_once(at[None, None, :] + slope * above[:, :, None]).mean(axis=1)
            for at, slope in zip(level, change[:, 0], strict=True)
        ]
        return np.stack(chances)

    def ratio_for(self, chances: Float[np.ndarray, "D G"], chance: float) -> Figure | None:
        """ln(asking / suggested) of the highest price that sells with this chance; None: none that was looked at.

        Args:
            chances: by `sold_within`, of `RATIOS`.
            chance: at least.
        """
        if not chances[0, 0] >= chance > chances[0, -1]:
            return None
        # Chances fall with the ratio: turned round, they rise.
        return Figure.of(np.array([np.interp(chance, drawn[::-1], RATIOS[::-1]) for drawn in chances]))

    def ratio_of_most_gain(self, chances: Float[np.ndarray, "D G"]) -> Figure | None:
        """ln(asking / suggested) of the price that brings most in expectation; None: none that was looked at.

        What is bargained away is taken to be the same share whatever is asked; an item that does not sell brings
        nothing.
        """
        best = (np.exp(RATIOS) * chances).argmax(axis=1)
        if best[0] in (0, len(RATIOS) - 1):
            return None
        return Figure.of(RATIOS[best])


def left_at(offered: Offered, sold: Offered, start: int) -> tuple[float, float]:
    """(mean ratio, mean ln(asking / sold)) of the items that are left after so many days; of all where few sell later.

    Args:
        offered: all items.
        sold: those that have sold.
        start: days.
    """
    later = sold.days >= start
    if later.sum() < FEWEST_AT_AGE:
        later, start = np.ones(len(sold), dtype=bool), 0
    return float(bounded(offered.ratio)[offered.days >= start].mean()), float(sold.above[later].mean())


def shares(sold: Offered, seed: int, draws: int) -> Float[np.ndarray, " D"]:
    """The share of the ratio that is ln(asking / sold): the slope of one on the other, and of draws of the groups."""
    names, group = np.unique(sold.group, return_inverse=True)
    groups = len(names)
    weights = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)[:, group]
    weights = np.concatenate([np.ones((1, len(group))), weights])
    weights = weights / weights.sum(axis=1, keepdims=True)
    ratio, above = bounded(sold.ratio), sold.above
    together = weights @ (ratio * above) - (weights @ ratio) * (weights @ above)
    # A draw of no share at all would make what is divided by it endless.
    return np.maximum(together / (weights @ ratio**2 - (weights @ ratio) ** 2), LEAST_SHARE)


def chances_within(choice: Choice, category: str, days: int) -> dict[str, object]:
    """The figures of `sale_chances`: by the ratio, how many sell of what is asked for so, and of what is priced so.

    Args:
        choice: the hazard.
        category: a category; one that it has not seen is like the average one.
        days: within which an item is to sell.
    """
    told: dict[str, object] = {"within_days": days, "log_ratio": RATIOS.tolist()}
    told |= curves("chance", choice.hazard.sold_within(RATIOS, category, days))
    chosen = choice.sold_within(RATIOS, category, days) if choice.tells else None
    told |= curves("chosen_chance", chosen)
    for chance in CHANCES:
        price = None if chosen is None else choice.ratio_for(chosen, chance)
        told |= ends_of(price_at(chance), price)
    return told | ends_of("most_gain", None if chosen is None else choice.ratio_of_most_gain(chosen))


def price_at(chance: float) -> str:
    """The column of the price that sells with a chance."""
    return f"price_at_{100 * chance:.0f}"


def ends_of(name: str, figure: Figure | None) -> dict[str, float | None]:
    """A figure and the ends of its interval, as columns; null where there is none."""
    values = (None, None, None) if figure is None else (figure.value, figure.low, figure.high)
    return {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), values, strict=True)}


def curves(name: str, drawn: Float[np.ndarray, "D G"] | None) -> dict[str, list[float] | None]:
    """The estimate of a curve and the ends of its interval, as columns; null where there is none."""
    if drawn is None:
        return {f"{name}{end}": None for end in ("", "_low", "_high")}
    low, high = interval(drawn)
    return {f"{name}{end}": curve.tolist() for end, curve in {"": drawn[0], "_low": low, "_high": high}.items()}
