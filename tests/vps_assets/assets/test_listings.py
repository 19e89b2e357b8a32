"""Bounds, clean rows and quarantined rows of what has landed."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_assets.assets.listings import TOO_HIGH, TOO_LOW, cleaned, fitted_bounds, quarantined
from vps_assets.tables.listings import RAW_LISTINGS
from vps_assets.tables.schemas import conforming, types
from vps_assets.tables.splits import group_split


def raw(prices: list[float | None], reasons: list[list[str]] | None = None) -> pl.DataFrame:
    """Landed rows, one a day of January 2024, with these sold prices."""
    rows = [
        {
            "listing_id": str(i),
            "listed_at": datetime(2024, 1, 1 + i % 28, tzinfo=UTC),
            "category": "c",
            "image_path": "p",
            "sold_at": None if price is None else datetime(2024, 1, 1 + i % 28, 12, tzinfo=UTC),
            "sold_price": price,
            "listed_on": date(2024, 1, 1 + i % 28),
            "landed_at": datetime(2024, 3, 1, tzinfo=UTC),
            "source_file": "f",
            "landing_id": "x",
            "photo_hash": f"h{i}",
            "landing_reasons": reasons[i] if reasons else [],
            "row": "{}",
        }
        for i, price in enumerate(prices)
    ]
    missing = {name: None for name in types(RAW_LISTINGS)}
    return conforming(pl.DataFrame([missing | row for row in rows], schema=types(RAW_LISTINGS)), RAW_LISTINGS)


BOUNDS = fitted_bounds(raw([float(p) for p in range(1, 201)]), (0.025, 0.975), 0.6, 0.2)


def test_bounds_come_from_rows_that_train_in_both_splits() -> None:
    rows = raw([float(p) for p in range(1, 201)])
    bounds = BOUNDS.row(0, named=True)
    side = group_split(rows["photo_hash"], 0.6, 0.2)
    training = rows.filter((side == "train") & (pl.col("sold_at").dt.date() <= bounds["train_until"]))["sold_price"]
    assert 0 < training.len() < 120
    assert bounds["training_sales"] == training.len()
    assert bounds["lower_price"] == pytest.approx(np.quantile(training, 0.025))
    assert bounds["upper_price"] == pytest.approx(np.quantile(training, 0.975))


def test_a_price_out_of_bounds_is_quarantined_with_the_reason() -> None:
    rows = raw([0.001, 100.0, 1e6])
    assert cleaned(rows, BOUNDS)["listing_id"].to_list() == ["1"]
    assert quarantined(rows, BOUNDS)["reasons"].to_list() == [[TOO_LOW], [TOO_HIGH]]


def test_an_open_listing_has_no_log_price_and_no_price_reason() -> None:
    assert cleaned(raw([None]), BOUNDS)["log_price"].to_list() == [None]


def test_the_log_price_is_the_natural_log_of_the_sold_price() -> None:
    assert cleaned(raw([100.0]), BOUNDS)["log_price"].to_list() == pytest.approx([np.log(100)])


def test_without_a_sale_no_price_is_out_of_bounds_and_bad_rows_are_still_quarantined() -> None:
    rows = raw([None, None], [[], ["category is missing"]])
    bounds = fitted_bounds(rows, (0.025, 0.975), 0.6, 0.2)
    assert bounds["lower_price"].to_list() == [None]
    assert cleaned(rows, bounds).height == quarantined(rows, bounds).height == 1


def test_a_bad_row_with_an_irrational_price_has_both_reasons() -> None:
    assert quarantined(raw([1e6], [["photo is missing"]]), BOUNDS)["reasons"].to_list() == [
        ["photo is missing", TOO_HIGH]
    ]


@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.booleans()), max_size=30))
def test_landed_is_clean_plus_quarantined(rows: list[tuple[float, bool]]) -> None:
    frame = raw([price for price, _ in rows], [["bad"] if bad else [] for _, bad in rows])
    clean, out = cleaned(frame, BOUNDS), quarantined(frame, BOUNDS)
    assert sorted([*clean["listing_id"], *out["listing_id"]]) == sorted(frame["listing_id"])
    assert (out["reasons"].list.len() > 0).all()
