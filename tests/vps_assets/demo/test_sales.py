"""How the demo's items are sold."""

import numpy as np
import pytest

from vps_assets.demo.sales import (
    ASKED_ABOVE,
    ASKED_SPREAD,
    DAILY_CHANCE,
    FALLS_BY,
    LOWERED_AFTER_DAYS,
    LOWERED_TO,
    Sale,
    daily_chance,
    sale,
)

COUNT = 4000


@pytest.fixture(scope="module")
def sales() -> list[Sale]:
    rng = np.random.default_rng(0)
    return [sale(100.0, 60.0, False, rng) for _ in range(COUNT)]


def test_the_odds_of_a_sale_fall_with_the_asking_price_as_stated() -> None:
    odds = [daily_chance(ratio) / (1 - daily_chance(ratio)) for ratio in (1.0, 2.0)]
    assert odds[0] == pytest.approx(DAILY_CHANCE / (1 - DAILY_CHANCE))
    assert np.log(odds[1] / odds[0]) == pytest.approx(-FALLS_BY * np.log(2))


def test_first_asking_prices_scatter_around_what_an_item_is_worth(sales: list[Sale]) -> None:
    hope = np.log([one.first_asking_price / 100 for one in sales])
    assert hope.mean() == pytest.approx(ASKED_ABOVE, abs=0.01)
    assert hope.std() == pytest.approx(ASKED_SPREAD, abs=0.01)


def test_an_unsold_item_is_lowered_each_week_and_nobody_pays_more_than_is_asked(sales: list[Sale]) -> None:
    for one in sales[:500]:
        days = 60.0 if one.days_to_sale is None else one.days_to_sale
        weeks = int(np.ceil(days) - 1) // LOWERED_AFTER_DAYS
        assert one.asking_price == pytest.approx(one.first_asking_price * LOWERED_TO**weeks)
        assert one.sold_price is None or one.sold_price <= one.asking_price
        assert (one.sold_price is None) == (one.days_to_sale is None)


def test_who_asks_for_more_waits_longer_and_prices_stay_near_the_worth(sales: list[Sale]) -> None:
    sold = [one for one in sales if one.days_to_sale is not None and one.sold_price is not None]
    asked = np.log([one.first_asking_price for one in sold])
    days = np.array([one.days_to_sale for one in sold])
    assert np.corrcoef(asked, days)[0, 1] > 0.2
    error = np.log([one.sold_price / 100 for one in sold])
    assert abs(error.mean()) < 0.05 and error.std() < 0.1


def test_what_is_withdrawn_is_never_sold() -> None:
    rng = np.random.default_rng(0)
    assert all(sale(100.0, 60.0, True, rng).sold_price is None for _ in range(100))
