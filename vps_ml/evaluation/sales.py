"""How well sales were foretold: each week of the newest days by what was known before it.

Axes: N item.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vps_ml.evaluation.resampling import Draws, middle, numbered, weighted_mean
from vps_ml.pricing.calibration import ALL
from vps_ml.pricing.selling import HORIZONS_DAYS, Offered, fit_hazard, kaplan_meier, tells

BLOCK_DAYS = 7
"""The hazard is fitted anew so often."""
TENTHS = 10
FEWEST_IN_TENTHS = 200
"""Listings below which a share of a tenth is chance, and no calibration is told."""


@dataclass(frozen=True)
class Foretold:
    """Items whose sale within some days was foretold when they were listed, and what became of them."""

    category: np.ndarray
    group: np.ndarray
    chance: Float[np.ndarray, " N"]
    by_category: Float[np.ndarray, " N"]
    """The share that the category had sold within so many days, by Kaplan and Meier: who knows no asking price."""
    sold: Float[np.ndarray, " N"]
    """1 where it sold within these days, else 0."""

    def of(self, category: str) -> "Foretold":
        """The items of a category."""
        mine = self.category == category
        return Foretold(**{name: values[mine] for name, values in vars(self).items()})


def horizons_known(offered: Offered) -> list[int]:
    """The numbers of days that the history is long enough for: twice as long."""
    history = offered.until - offered.listed.min(initial=offered.until)
    return [days for days in HORIZONS_DAYS if history >= 2 * days]


def foretold(offered: Offered, days: int, fewest_sales: int) -> Foretold:
    """The listings of the newer half of the days of which it is known whether they sold within so many days.

    Args:
        offered: all items, by prices that are not learnt from their own.
        days: within which they are to sell.
        fewest_sales: known before a week, or nothing is foretold of it.
    """
    known = offered.where(offered.listed + days <= offered.until)
    parts: list[Foretold] = []
    first = float(np.median(known.listed)) if len(known) else offered.until
    for start in np.arange(first, offered.until - days, BLOCK_DAYS):
        block, past = (
            known.where((known.listed >= start) & (known.listed < start + BLOCK_DAYS)),
            offered.known_at(start),
        )
        if past.sold.sum() >= fewest_sales and tells(past) and len(block):
            parts.append(foretold_of(block, past, days))
    names = Foretold.__dataclass_fields__
    return Foretold(**{name: np.concatenate([np.empty(0), *(vars(part)[name] for part in parts)]) for name in names})


def foretold_of(block: Offered, past: Offered, days: int) -> Foretold:
    """Items by what was known before any of them was listed."""
    hazard = fit_hazard(past, draws=0)
    chance, by_category = np.zeros(len(block)), np.zeros(len(block))
    for category in np.unique(block.category.astype(str)):
        mine, before = block.category == category, past.where(past.category == category)
        chance[mine] = hazard.sold_within(block.ratio[mine], category, days)[0]
        by_category[mine] = kaplan_meier(before if len(before) else past, days)
    sold = (block.sold & (np.floor(block.days) < days)).astype(float)  # whole days, as trials count them
    return Foretold(block.category, block.group, chance, by_category, sold)


def sale_figures(told: Foretold, days: int) -> list[dict]:
    """The figures of `sale_reports`: of all items, and of each category."""
    if not len(told.chance):
        return []
    categories = {ALL: told, **{name: told.of(name) for name in np.unique(told.category.astype(str))}}
    return [{"within_days": days, "segment": name, **figures_of(part)} for name, part in categories.items()]


def figures_of(told: Foretold) -> dict[str, object]:
    """Calibration by tenths of the chance, and the Brier score beside Kaplan and Meier's."""
    brier, of_category = np.square(told.chance - told.sold), np.square(told.by_category - told.sold)
    draws = Draws(numbered(told.group))
    low, high = middle(np.concatenate([weighted_mean(brier - of_category, weights) for weights in draws]))
    tenths = np.array_split(np.argsort(told.chance, kind="stable"), TENTHS)
    few = len(told.chance) < FEWEST_IN_TENTHS
    foretold_share, sold_share = (
        [float(v[tenth].mean()) for tenth in tenths if len(tenth)] for v in (told.chance, told.sold)
    )
    return {
        "listings": len(told.chance),
        "sold_share": float(told.sold.mean()),
        "mean_chance": float(told.chance.mean()),
        "brier": float(brier.mean()),
        "brier_kaplan_meier": float(of_category.mean()),
        "difference": float((brier - of_category).mean()),
        "low": low,
        "high": high,
        "calibration_error": None if few else float(np.abs(np.subtract(foretold_share, sold_share)).mean()),
        "chance_by_tenth": None if few else foretold_share,
        "sold_by_tenth": None if few else sold_share,
    }
