from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_assets.assets.listings import TOO_HIGH, TOO_LOW, cleaned, fitted_bounds, quarantined
from vps_assets.tables.schemas import RAW_LISTINGS, conforming, types
from vps_assets.tables.splits import group_split, share_of_group, time_cuts, with_roles


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


def test_a_group_keeps_its_side_and_sides_have_their_shares() -> None:
    keys = pl.Series([f"g{i}" for i in range(20_000)])
    side = group_split(keys, 0.6, 0.2)
    assert side.to_list() == group_split(keys.reverse(), 0.6, 0.2).reverse().to_list()
    # three standard errors of a share of 0.6 over 20,000 groups are 0.0104
    assert (side == "train").mean() == pytest.approx(0.6, abs=0.0104)
    assert (side == "validation").mean() == pytest.approx(0.2, abs=0.0085)
    assert 0 <= share_of_group("g1") < 1


def test_time_cuts_take_the_shares_of_the_rows() -> None:
    days = pl.Series([date(2024, 1, d) for d in range(1, 11)])
    assert time_cuts(days, 0.6, 0.2) == (date(2024, 1, 6), date(2024, 1, 8))


GROUPS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40
)


@given(GROUPS)
def test_no_group_and_no_photo_is_on_two_sides_whatever_the_data(rows: list[tuple[int, int, int, int]]) -> None:
    sides = ["train", "validation", "test"]
    told = with_roles(
        pl.DataFrame(
            {
                "group_key": [str(g) for g, _, _, _ in rows],
                "photo_hash": [str(p) for _, p, _, _ in rows],
                "split": [sides[s] for _, _, s, _ in rows],
                "time_split": [sides[t] for _, _, _, t in rows],
                "log_price": [1.0] * len(rows),
                "listed_on": [date(2024, 1, 1)] * len(rows),
                "sold_on": [date(2024, 1, 1)] * len(rows),
            }
        )
    )
    for role in ("group_role", "time_role"):
        for key in ("group_key", "photo_hash"):
            assert told.drop_nulls(role).group_by(key).agg(pl.col(role).n_unique())[role].max() in (1, None)
    tested = [row for row in rows if row[2] == 2]
    assert told.filter(pl.col("group_role") == "test").height == len(tested)


ON = date(2024, 1, 1)


def one_by_one(**columns: list) -> pl.DataFrame:
    """Rows of groups and photos of their own."""
    count = len(columns["time_split"])
    keys = [str(i) for i in range(count)]
    frame = pl.DataFrame({"group_key": keys, "photo_hash": keys, "split": ["train"] * count, **columns})
    return with_roles(frame)


def test_open_listings_take_no_part_in_a_split() -> None:
    price = pl.Series([None], dtype=pl.Float64)
    told = one_by_one(time_split=["train"], log_price=price, listed_on=[ON], sold_on=pl.Series([None], dtype=pl.Date))
    assert told.select("group_role", "time_role").rows() == [(None, None)]


def test_a_sale_after_its_sides_last_day_takes_no_part_in_the_split_by_time() -> None:
    days = [date(2024, 1, d) for d in (1, 2, 3, 4)]
    told = one_by_one(
        time_split=["train", "train", "validation", "test"],
        log_price=[1.0] * 4,
        listed_on=days,
        sold_on=[date(2024, 1, d) for d in (3, 2, 4, 9)],
    )
    assert told["time_role"].to_list() == [None, "train", None, "test"]
    assert told["group_role"].to_list() == ["train"] * 4
