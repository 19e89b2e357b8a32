"""Nothing that a model sees may drift by itself: the gate would follow the calendar."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from datasets import quick_recipe
from worlds import columns_of

from vps_ml.features.scaling import tabular_moments
from vps_ml.features.statistics import price_history, with_statistics
from vps_ml.features.tabular import ERRORS, HISTORIES, MOMENTS, SAID_LABELS, hidden_from, tabular_matrix
from vps_ml.pricing.calibration import Judgement, calibrated
from vps_ml.pricing.kernels import Kernel, fit_kernel_machine

FIRST = date(2024, 1, 1)
DAYS, A_DAY = 120, 40


def stationary_market() -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """(listings without a day, statistics tables): every day as many sales at prices of the same law."""
    rng = np.random.default_rng(0)
    count = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    category, seller = rng.integers(0, 4, count), rng.integers(0, 60, count)
    price = np.round(np.exp(2 + category + rng.normal(0, 0.5, count)), 2)
    groups = {"marketplace": np.zeros(count, dtype=np.int64), "category": category, "seller": seller}
    tables = {}
    for history, key in HISTORIES.items():
        found = price_history(price, day, groups[history])
        columns = {"as_of": [FIRST + timedelta(days=int(d)) for d in found.as_of_day], "sales": found.sales}
        columns |= dict(zip(MOMENTS, [*found.quartiles.T, found.mean], strict=True))
        tables[history] = pl.DataFrame(columns | ({key: [f"g{g}" for g in found.group]} if key else {}))
    labels = {"as_of": pl.Date, "label": pl.String, "sales": pl.Int64, **dict.fromkeys(MOMENTS, pl.Float64)}
    tables["label"] = pl.DataFrame(schema=labels)  # what sellers say is no part of this
    silent = dict.fromkeys(SAID_LABELS, pl.Series([None] * 1000, dtype=pl.String))
    items = pl.DataFrame(
        {"category": [f"g{g}" for g in category[:1000]], "seller_id": [f"g{g}" for g in seller[:1000]]} | silent
    )
    return items, tables


def as_of(day: int, items: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return with_statistics(items.with_columns(listed_on=pl.lit(FIRST + timedelta(days=day))), tables)


def test_the_same_listings_a_month_later_are_qualified_as_often() -> None:
    """A gate on everything but the photo, which does not change: trained on a month of listings, then calibrated."""
    items, tables = stationary_market()
    dates = pl.Series("listed_on", [FIRST + timedelta(days=30 + i % 30) for i in range(items.height)])
    trained = with_statistics(items.with_columns(dates), tables)
    columns = columns_of(trained)
    seen = tabular_matrix(trained, columns)
    centre, scale = tabular_moments(seen)
    error = np.abs(np.random.default_rng(1).normal(size=len(seen))) * (1 + (seen[:, -1] > 0))
    machine = fit_kernel_machine(0.3 * (seen - centre) / scale, error, Kernel(0.1, 0.05, 0.5), 0)

    def judged(day: int) -> Judgement:
        x = 0.3 * (tabular_matrix(as_of(day, items, tables), columns) - centre) / scale
        return Judgement(np.zeros(len(x)), -machine.predict(x), np.ones(len(x)))

    calibration = calibrated(judged(60), error, 0.5, quick_recipe().range_level)
    taken, taken_later = ((calibration.qualification(judged(day)) >= 0.5).mean() for day in (60, 90))
    assert taken == pytest.approx(0.5, abs=0.01)
    assert taken_later == pytest.approx(taken, abs=0.03)


def test_in_a_market_whose_prices_rise_what_errors_are_learnt_from_stays() -> None:
    """As on real adverts, whose median sold price rose by a factor of 2.7 in three weeks of history."""
    items, tables = stationary_market()
    then, later = as_of(60, items, tables), as_of(60, items, risen(tables, 2.7))
    columns = columns_of(then)
    moved = np.abs(tabular_matrix(later, columns) - tabular_matrix(then, columns)).max(axis=0)
    hidden = list(hidden_from(ERRORS, columns))
    assert moved[hidden].min() > 0.9
    assert np.delete(moved, hidden).max() < 1e-9


def risen(tables: dict[str, pl.DataFrame], factor: float) -> dict[str, pl.DataFrame]:
    return {name: table.with_columns(pl.col(MOMENTS) * factor) for name, table in tables.items()}


def test_a_count_that_only_grows_is_not_among_what_new_models_see() -> None:
    items, tables = stationary_market()
    then, later = as_of(60, items, tables), as_of(90, items, tables)
    columns = columns_of(then)
    moved = (tabular_matrix(later, columns) - tabular_matrix(then, columns)).mean(axis=0)
    assert np.abs(moved).max() < 0.05
    grown = tabular_matrix(later, ("category_sales",)) - tabular_matrix(then, ("category_sales",))
    assert grown.mean() > 0.3  # as it did for the models of before
