"""How well sales were foretold, by what was known before."""

import numpy as np
import pytest

from vps_ml.evaluation.sales import FEWEST_IN_TENTHS, Foretold, figures_of, foretold, horizons_known, sale_figures
from vps_ml.pricing.selling import Offered, fit_hazard, kaplan_meier


def market(count: int = 2400, days: float = 60.0, slope: float = -2.0, seed: int = 0) -> Offered:
    """Items of two categories, listed over these days, that sell the faster the less is asked."""
    rng = np.random.default_rng(seed)
    ratio, category = rng.normal(0, 0.4, count), rng.choice(["dress", "phone"], count)
    odds = np.where(category == "phone", 0.4, 0.2) * np.exp(slope * ratio)
    listed = np.sort(rng.uniform(0, days, count))
    sells = rng.geometric(odds / (1 + odds)) - rng.uniform(0.01, 0.99, count)
    sold = listed + sells <= days
    above = np.where(sold, 0.1, np.nan)
    return Offered(ratio, category, np.arange(count), listed, np.where(sold, sells, days - listed), sold, above)


def test_figures_by_hand() -> None:
    told = Foretold(
        category=np.array(["a"] * 4),
        group=np.arange(4),
        chance=np.array([0.8, 0.8, 0.2, 0.2]),
        by_category=np.full(4, 0.5),
        sold=np.array([1.0, 1.0, 0.0, 1.0]),
    )
    found = figures_of(told)
    assert found["listings"] == 4
    assert found["sold_share"] == pytest.approx(0.75)
    assert found["mean_chance"] == pytest.approx(0.5)
    assert found["brier"] == pytest.approx((0.04 + 0.04 + 0.04 + 0.64) / 4)
    assert found["brier_kaplan_meier"] == pytest.approx(0.25)
    assert found["difference"] == pytest.approx(0.19 - 0.25)
    assert found["calibration_error"] is None, "tenths of four listings tell nothing"


def test_calibration_is_the_mean_gap_of_tenths() -> None:
    chance = np.repeat(np.linspace(0.05, 0.95, 10), FEWEST_IN_TENTHS // 10)
    told = Foretold(np.array(["a"] * len(chance)), np.arange(len(chance)), chance, chance, np.ones(len(chance)))
    found = figures_of(told)
    assert found["chance_by_tenth"] == pytest.approx(np.linspace(0.05, 0.95, 10))
    assert found["sold_by_tenth"] == [1.0] * 10
    assert found["calibration_error"] == pytest.approx(0.5)


def test_what_was_foretold_is_calibrated_and_better_than_the_category_alone() -> None:
    told = foretold(market(), 7, fewest_sales=200)
    whole, *_ = sale_figures(told, 7)
    assert whole["segment"] == "all"
    assert whole["calibration_error"] < 0.06
    assert whole["high"] < 0, "surely better than Kaplan and Meier's"
    assert {row["segment"] for row in sale_figures(told, 7)} == {"all", "dress", "phone"}


def test_an_item_is_foretold_by_what_was_known_before_it_was_listed() -> None:
    """Its week's hazard is that of the moment at which the week begins, whatever became of later items."""
    items = market()
    told = foretold(items, 7, fewest_sales=200)
    known = items.where(items.listed + 7 <= items.until)
    first = float(np.median(known.listed))
    week, past = known.where((known.listed >= first) & (known.listed < first + 7)), items.known_at(first)
    expected = [
        fit_hazard(past, draws=1).sold_within(np.array([ratio]), category, 7)[0, 0]
        for ratio, category in zip(week.ratio[:20], week.category[:20], strict=True)
    ]
    place = [int(np.flatnonzero(told.group == group)[0]) for group in week.group[:20]]
    assert told.chance[place] == pytest.approx(expected)
    assert told.by_category[place[0]] == pytest.approx(kaplan_meier(past.where(past.category == week.category[0]), 7))
    assert told.sold[place].tolist() == (week.sold & (week.days < 7))[:20].tolist()


def test_nothing_is_foretold_where_too_little_was_known() -> None:
    told = foretold(market(count=200), 7, fewest_sales=200)
    assert len(told.chance) == 0
    assert sale_figures(told, 7) == []


def test_a_number_of_days_is_told_of_once_the_history_is_twice_as_long() -> None:
    assert horizons_known(market(days=70)) == [7, 30]
    assert horizons_known(market(days=40)) == [7]
    assert horizons_known(market(days=10)) == []
