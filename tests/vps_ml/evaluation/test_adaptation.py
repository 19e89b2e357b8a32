"""A range that follows the market: what had sold moves it, nothing later does."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from vps_ml.evaluation.adaptation import (
    LEAST,
    MOST,
    STEP,
    MissRates,
    Sold,
    rates_as_of,
    rates_in_force,
    replayed,
)
from vps_ml.pricing.calibration import price_range


def market(spread: float, days: int = 40, a_day: int = 30, seed: int = 0) -> tuple[Sold, np.ndarray]:
    """(items whose residuals are `spread` times as wide as those of calibration, the residuals of calibration)."""
    rng = np.random.default_rng(seed)
    listed = np.repeat(np.arange(days), a_day)
    category = np.array(["phone", "shoes", "vase"])[rng.integers(0, 3, listed.size)]
    sold = listed + rng.integers(0, 4, listed.size)
    return Sold(listed, sold, category, rng.normal(size=listed.size) * spread), np.sort(rng.normal(size=400))


def test_the_first_day_has_the_range_of_calibration() -> None:
    sold, calibrating = market(1.0, days=1)
    replay = replayed(sold, calibrating, 0.8)
    low, high = price_range(calibrating, 0.8)
    assert replay.low == pytest.approx(low) and replay.high == pytest.approx(high)
    assert (replay.covered == ((low <= sold.scaled_residual) & (sold.scaled_residual <= high))).all()


def test_one_item_moves_the_rate_by_a_step_and_from_the_day_after_its_sale() -> None:
    """Listed on days 0, 3 and 4; the first sold on day 3, far outside its range: by hand .2 + .02 (.2 - 1) = .184."""
    sold = Sold(np.array([0, 3, 4]), np.array([3, 5, 5]), np.array(["a", "a", "a"]), np.array([99.0, 0.0, 0.0]))
    replay = replayed(sold, np.linspace(-3, 3, 200), 0.8)
    assert replay.by_day[3].overall == pytest.approx(0.2)  # sold on the day itself: not known yet
    assert replay.by_day[4].overall == pytest.approx(0.2 + STEP * (0.2 - 1))
    assert replay.now.overall == pytest.approx(0.2 + STEP * (0.2 - 1) + 2 * STEP * 0.2)


def test_the_state_of_a_day_is_that_of_the_sales_before_it_whether_or_not_its_own_listings_have_sold() -> None:
    """A listing of a day that nothing has sold of is told what it is told once a neighbour has sold."""
    sold, calibrating = market(1.5, days=12, a_day=6)
    late = (sold.listed_day == 7) | (sold.sold_day >= 9)
    before = Sold(*(values[~late] for values in vars(sold).values()))
    one, other = replayed(before, calibrating, 0.8), replayed(sold, calibrating, 0.8)
    assert 7 not in before.listed_day
    early = range(8)
    assert {day: one.by_day[day] for day in early} == {day: other.by_day[day] for day in early}
    assert one.by_day[7] != one.by_day[5]


@pytest.mark.parametrize("spread", [0.7, 1.0, 1.5])
def test_whatever_the_market_does_the_range_comes_back_to_what_it_promises(spread: float) -> None:
    sold, calibrating = market(spread)
    replay = replayed(sold, calibrating, 0.8)
    late = sold.listed_day >= 20
    assert replay.covered[late].mean() == pytest.approx(0.8, abs=0.04)
    low, high = price_range(calibrating, 0.8)
    static = ((low <= sold.scaled_residual) & (sold.scaled_residual <= high))[late].mean()
    assert abs(static - 0.8) > 0.06 or spread == 1.0


def test_a_category_that_scatters_more_gets_a_wider_range_than_the_others() -> None:
    sold, calibrating = market(1.0, days=80)
    vase = sold.category == "vase"
    sold = replace(sold, scaled_residual=np.where(vase, 1.8, 0.8) * sold.scaled_residual)
    replay = replayed(sold, calibrating, 0.8)
    late = sold.listed_day >= 40
    assert replay.now.of("vase") < replay.now.of("phone")
    assert (replay.high - replay.low)[late & vase].mean() > (replay.high - replay.low)[late & ~vase].mean()
    assert abs(replay.covered[late & vase].mean() - 0.8) < 0.08


def test_no_later_sale_moves_a_range() -> None:
    """Whatever happens from day 20 on, the ranges until then are the same."""
    sold, calibrating = market(1.3)
    before = replayed(sold, calibrating, 0.8)
    later = np.where(sold.sold_day >= 20, 50.0, sold.scaled_residual)
    after = replayed(replace(sold, scaled_residual=later), calibrating, 0.8)
    early = sold.listed_day <= 20
    assert (before.low[early] == after.low[early]).all() and (before.high[early] == after.high[early]).all()
    assert not (before.low == after.low).all()


def test_the_order_in_which_items_come_does_not_matter_but_for_ties() -> None:
    sold, calibrating = market(1.2, days=10, a_day=1)
    order = np.random.default_rng(3).permutation(10)
    one = replayed(replace(sold, sold_day=sold.listed_day), calibrating, 0.8)
    turned = Sold(
        *(values[order] for values in (sold.listed_day, sold.listed_day, sold.category, sold.scaled_residual))
    )
    other = replayed(turned, calibrating, 0.8)
    assert one.now.overall == pytest.approx(other.now.overall)
    assert one.low[order] == pytest.approx(other.low)


def test_a_rate_stays_within_its_bounds() -> None:
    rates = MissRates.at_first(0.8)
    for _ in range(500):
        rates.learn("a", missed=True)
    assert rates.of("a") == LEAST
    for _ in range(5000):
        rates.learn("a", missed=False)
    assert rates.of("a") == MOST
    assert rates.of("never sold") == pytest.approx(rates.overall)


def test_a_listing_has_the_rate_of_its_category_as_of_its_day() -> None:
    days = [date(2024, 5, day) for day in range(1, 8)]
    table = pl.DataFrame(
        {"model_id": ["m"] * 4 + ["n"], "as_of": [days[1], days[3], days[3], days[5], days[0]],
         "segment": ["all", "all", "a", "a", "all"], "miss_rate": [0.2, 0.1, 0.15, 0.3, 0.5]}
    )  # fmt: skip
    listings = pl.DataFrame({"listed_on": [days[6], days[3], days[2], days[0], days[4]], "category": [*"aaaab"]})
    found = rates_as_of(table, "m", listings)
    assert found == pytest.approx([0.3, 0.15, 0.2, float("nan"), 0.1], nan_ok=True)
    assert np.isnan(rates_as_of(table.clear(), "m", listings)).all()


def test_the_newest_day_of_the_model_that_prices_is_what_is_in_force() -> None:
    table = pl.DataFrame(
        {"model_id": ["m"] * 4 + ["n"], "as_of": [1, 1, 2, 2, 3], "segment": ["all", "a", "all", "a", "all"],
         "miss_rate": [0.2, 0.2, 0.1, 0.15, 0.3]}
    )  # fmt: skip
    assert rates_in_force(table, "m") == {"all": 0.1, "a": 0.15}
    assert rates_in_force(table, "another") == rates_in_force(table.clear(), "m") == {}
