"""How the demo's items are sold: an asking price near what the item is worth, lowered with time, and a daily chance."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

ASKED_ABOVE, ASKED_SPREAD = 0.08, 0.18
"""Mean and standard deviation of ln(first asking price / worth): what sellers hope for."""
LOWERED_AFTER_DAYS, LOWERED_TO = 7, 0.94
"""An unsold item's price is lowered to this share every so many days."""
DAILY_CHANCE = 0.27
"""Of a sale, of an item that is asked for at what it is worth."""
FALLS_BY = 4.0
"""How much the log odds of a sale on a day fall for each ln(asking / worth)."""
HAGGLED = 0.7
"""Of ln(asking / worth), how much buyer and seller bargain away; nobody pays more than is asked."""


Ratio = TypeVar("Ratio", float, np.ndarray)


@dataclass(frozen=True)
class Sale:
    """How an item was offered, and sold if it was."""

    first_asking_price: float
    asking_price: float
    """In the end."""
    days_to_sale: float | None
    """After it was listed; None: it is not sold by the end."""
    sold_price: float | None


def daily_chance(asking_over_worth: Ratio) -> Ratio:
    """The chance of a sale on a day, at this ratio of the asking price to what the item is worth."""
    odds = DAILY_CHANCE / (1 - DAILY_CHANCE) * asking_over_worth**-FALLS_BY
    return odds / (1 + odds)


def sold_within(asking_over_worth: np.ndarray, days: int) -> np.ndarray:
    """The chance that an item is sold within so many days, at its first asking price over what it is worth."""
    stays = np.ones_like(asking_over_worth)
    for day in range(days):
        lowered = LOWERED_TO ** (day // LOWERED_AFTER_DAYS)
        stays = stays * (1 - daily_chance(asking_over_worth * lowered))
    return 1 - stays


def sale(worth: float, days_left: float, withdrawn: bool, rng: np.random.Generator) -> Sale:
    """Offer an item until it is sold or the market ends.

    Args:
        worth: what the item would bring if it were asked for at once, money.
        days_left: from its listing to the market's end.
        withdrawn: whether it is not for sale after all: nobody gets it.
        rng: of the asking price, the buyer and the hour.
    """
    first = asking = worth * float(np.exp(rng.normal(ASKED_ABOVE, ASKED_SPREAD)))
    for day in range(int(np.ceil(days_left))):
        if day and day % LOWERED_AFTER_DAYS == 0:
            asking *= LOWERED_TO
        bought, hour = rng.random() < daily_chance(asking / worth), day + float(rng.uniform(0.05, 1.0))
        if bought and not withdrawn and hour < days_left:
            agreed = worth * (asking / worth) ** (1 - HAGGLED)
            return Sale(first, asking, hour, min(agreed, asking))
    return Sale(first, asking, None, None)
