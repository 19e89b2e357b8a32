"""What to ask: not what sellers of better items ask."""

import numpy as np
import pytest

from vps_assets.demo.sales import sale, sold_within
from vps_ml.pricing.asking import CHANCES, RATIOS, Choice, chances_within
from vps_ml.pricing.selling import Offered, fit_hazard


def market(error: float, count: int = 3000, seed: int = 0) -> tuple[Offered, np.ndarray]:
    """(items offered on the demo's market with suggestions that are so far off, what they are worth over these)."""
    rng = np.random.default_rng(seed)
    missed = np.exp(rng.normal(0, error, count))
    left = rng.uniform(5, 90, count)
    sales = [sale(100.0, days, False, rng) for days in left]
    asked = np.array([one.first_asking_price for one in sales])
    price = np.array([one.sold_price or np.nan for one in sales])
    sold = ~np.isnan(price)
    until = [one.days_to_sale or seen for one, seen in zip(sales, left, strict=True)]
    items = Offered(
        ratio=np.log(asked / 100 * missed),
        category=np.array(["phone"] * count),
        group=np.arange(count),
        listed=90 - left,
        days=np.array(until),
        sold=sold,
        above=np.log(asked / price),
    )
    return items, missed


def test_the_chance_at_a_chosen_price_is_the_markets_where_the_hazards_own_is_far_off() -> None:
    """Suggestions that are off by half: those who ask more have better items, and the ratio says little of them."""
    items, missed = market(error=0.5)
    hazard = fit_hazard(items)
    choice = Choice.of(hazard, items)
    assert choice.tells
    asked = np.array([0.8, 1.0, 1.3])
    true = np.array([sold_within(price / missed, 7).mean() for price in asked])
    chosen, naive = (of.sold_within(np.log(asked), "phone", 7)[0] for of in (choice, hazard))
    assert chosen == pytest.approx(true, abs=0.08)
    assert naive[2] - true[2] > 0.2
    assert np.all(naive[1:] - true[1:] > np.abs(chosen - true)[1:])


def test_the_price_that_brings_most_is_near_the_markets() -> None:
    items, missed = market(error=0.5)
    told = chances_within(Choice.of(fit_hazard(items), items), "phone", 30)
    brought = [np.exp(ratio) * sold_within(np.exp(ratio) / missed, 30).mean() for ratio in RATIOS]
    assert told["most_gain"] is not None
    at_ours = np.interp(told["most_gain"], RATIOS, brought)
    assert at_ours > 0.9 * max(brought)
    assert at_ours > 1.1 * np.interp(0, RATIOS, brought), "better than to ask what is suggested"
    assert told["most_gain_low"] <= told["most_gain"] <= told["most_gain_high"]


def test_a_price_sells_with_the_chance_that_it_is_told_for() -> None:
    items, _ = market(error=0.3)
    choice = Choice.of(fit_hazard(items), items)
    for chance in CHANCES:
        told = choice.ratio_for(choice.sold_within(RATIOS, "phone", 7), chance)
        assert told is not None
        assert told.low <= told.value <= told.high
        at_it = choice.sold_within(np.array([told.value]), "phone", 7)[0, 0]
        assert at_it == pytest.approx(chance, abs=0.01)


def test_no_price_is_told_where_asking_and_sold_prices_are_the_same() -> None:
    """As in a market whose sold prices are copies of the asking prices: nothing says how much too dear an item was."""
    items, _ = market(error=0.5)
    same = Offered(**(vars(items) | {"above": np.where(items.sold, 0.0, np.nan)}))
    told = chances_within(Choice.of(fit_hazard(same), same), "phone", 7)
    assert told["chosen_chance"] is None
    assert {told[name] for name in ("price_at_50", "price_at_80", "most_gain")} == {None}
    assert told["chance"] is not None


def test_no_price_is_told_where_dear_items_sell_as_fast() -> None:
    items, _ = market(error=0.5)
    shuffled = np.random.default_rng(0).permutation(len(items))
    same = Offered(**(vars(items) | {name: vars(items)[name][shuffled] for name in ("days", "sold", "above")}))
    assert chances_within(Choice.of(fit_hazard(same), same), "phone", 7)["most_gain"] is None
