"""The chance of a sale by what is asked: a discrete-time hazard."""

import numpy as np
import pytest

from vps_ml.pricing.selling import MOST_DAYS, Offered, Trials, fit_hazard, kaplan_meier, tells


def offered(days: list[float], sold: list[bool], **columns: object) -> Offered:
    """Items that were on sale so long; by default all alike, listed at the same time."""
    count = len(days)
    given = {
        "ratio": np.zeros(count),
        "category": np.array(["phone"] * count),
        "group": np.arange(count),
        "listed": np.zeros(count),
        "days": np.array(days),
        "sold": np.array(sold),
        "above": np.where(sold, 0.1, np.nan),
    }
    return Offered(**(given | columns))


def drawn(slope: float, count: int = 6000, seed: int = 0) -> tuple[Offered, np.ndarray]:
    """(items that sell on a day with odds of .3 times e to the slope times their ratio, their daily chance)."""
    rng = np.random.default_rng(seed)
    ratio = rng.normal(0, 0.4, count)
    odds = 0.3 * np.exp(slope * ratio)
    chance = odds / (1 + odds)
    sells = rng.geometric(chance) - rng.uniform(0.01, 0.99, count)  # after so many days
    seen = rng.uniform(1, 40, count)
    sold = sells <= seen
    return offered(np.minimum(sells, seen).tolist(), sold.tolist(), ratio=ratio), chance


def test_each_day_on_sale_is_a_trial_and_a_day_that_is_not_over_says_nothing() -> None:
    """Sold on the third day; open for two days and a half; sold within hours."""
    trials = Trials.of(offered([2.2, 2.5, 0.1], [True, False, True]))
    assert trials.item.tolist() == [0, 0, 0, 1, 1, 2]
    assert trials.age.tolist() == [0, 1, 2, 0, 1, 0]
    assert trials.sold.tolist() == [False, False, True, False, False, True]


def test_days_after_the_last_that_is_told_of_are_no_trials() -> None:
    trials = Trials.of(offered([MOST_DAYS + 5.0, MOST_DAYS + 5.0], [True, False]))
    assert np.bincount(trials.item).tolist() == [MOST_DAYS, MOST_DAYS]
    assert not trials.sold.any()


def test_kaplan_meier_by_hand() -> None:
    """Day 0: 1 of 4 sells. Day 1: 1 of the 2 that are still seen sells. One is open after half a day."""
    items = offered([0.5, 1.5, 2.0, 0.5], [True, True, False, False])
    assert kaplan_meier(items, 1) == pytest.approx(1 / 3), "the last was not seen for a whole day"
    assert kaplan_meier(items, 2) == pytest.approx(1 - 2 / 3 * 1 / 2)


def test_the_hazard_is_that_of_a_market_that_was_drawn() -> None:
    items, chance = drawn(slope=-2.0)
    hazard = fit_hazard(items)
    assert hazard.of_ratio[0] == pytest.approx(-2.0, abs=0.15)
    assert np.quantile(hazard.of_ratio[1:], 0.05) < -2.0 < np.quantile(hazard.of_ratio[1:], 0.95)
    for ratio in (-0.5, 0.0, 0.5):
        odds = 0.3 * np.exp(-2.0 * ratio)
        true = 1 - (1 / (1 + odds)) ** 7
        assert hazard.sold_within(np.array([ratio]), "phone", 7)[0, 0] == pytest.approx(true, abs=0.03)


def test_a_category_with_few_sales_is_like_the_others_and_an_unknown_one_too() -> None:
    items, _ = drawn(slope=-1.0)
    few = np.arange(len(items)) < 4
    items = Offered(**(vars(items) | {"category": np.where(few, "violin", "phone"), "sold": items.sold & ~few}))
    hazard = fit_hazard(items)
    violin, phone, unknown = (hazard.sold_within(np.zeros(1), name, 7)[0, 0] for name in ("violin", "phone", "sofa"))
    assert phone == pytest.approx(unknown, abs=0.03)
    assert 0.3 * phone < violin < phone, "four items that nobody wanted"


def test_listings_of_one_item_do_not_make_the_interval_narrower() -> None:
    """Every item ten times over, under one group: as certain as one of each."""
    once, _ = drawn(slope=-1.0, count=1500)
    again = once.where(np.repeat(np.arange(len(once)), 10))
    alone = Offered(**(vars(again) | {"group": np.arange(len(again))}))
    widths = [fit_hazard(items).of_ratio[1:].std() for items in (once, again, alone)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert widths[2] < 0.5 * widths[1]


def test_of_items_that_sell_when_they_are_listed_or_never_nothing_is_learnt() -> None:
    """As in an export without days of sale, where both are the same."""
    assert not tells(offered([0.0, 0.0, 0.5], [True, True, True]))
    assert not tells(offered([9.0, 3.0], [False, False]))
    assert tells(offered([0.0, 1.5], [True, True]))


def test_what_was_known_at_a_moment_has_no_later_listing_and_no_later_sale() -> None:
    items = offered([3.0, 20.0, 1.0], [True, True, True], listed=np.array([0.0, 0.0, 10.0]))
    known = items.known_at(8.0)
    assert known.days.tolist() == [3.0, 8.0]
    assert known.sold.tolist() == [True, False]
    assert np.isnan(known.above).tolist() == [False, True]
    assert items.until == 20.0
