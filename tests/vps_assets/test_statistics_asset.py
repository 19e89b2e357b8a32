from datetime import date, timedelta

import polars as pl
import pytest

from vps_assets.assets.statistics import history_table, with_statistics
from vps_assets.checks import future_rows, hindsight_rows
from vps_assets.schemas import SELLER_STATISTICS, conforming

FIRST = date(2024, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


# id, listed, sold, price, category, seller
ROWS = [
    ("a", 1, 2, 10.0, "phone", "ann"),
    ("b", 1, 3, 20.0, "phone", "bob"),
    ("c", 2, 3, 40.0, "shoes", "ann"),
    ("d", 3, 4, 80.0, "phone", "ann"),
    ("e", 4, None, None, "phone", None),  # open, nobody's: falls back to its category
    ("f", 4, None, None, "lamp", "zoe"),  # nothing of the like was ever sold: falls back to all
]
CLEAN = pl.DataFrame(
    {
        "listing_id": [r[0] for r in ROWS],
        "listed_on": [day(r[1]) for r in ROWS],
        "sold_on": [None if r[2] is None else day(r[2]) for r in ROWS],
        "sold_price": [r[3] for r in ROWS],
        "category": [r[4] for r in ROWS],
        "seller_id": [r[5] for r in ROWS],
    },
    schema_overrides={"sold_on": pl.Date},
)
TABLES = {
    "marketplace": history_table(CLEAN, None),
    "category": history_table(CLEAN, "category"),
    "seller": history_table(CLEAN, "seller_id"),
}


def statistics_of(listing_id: str) -> dict:
    return with_statistics(CLEAN, TABLES).filter(pl.col("listing_id") == listing_id).row(0, named=True)


def test_a_table_has_a_row_per_day_from_which_the_history_is_different() -> None:
    assert TABLES["marketplace"].select("as_of", "sales", "median").rows() == [
        (day(3), 1, 10.0),
        (day(4), 3, 20.0),
        (day(5), 4, 30.0),
    ]


def test_a_listing_of_the_first_day_has_no_history() -> None:
    row = statistics_of("a")
    assert row["marketplace_median"] is None
    assert row["seller_sales"] == row["category_sales"] == row["marketplace_sales"] == 0


def test_a_sale_counts_from_the_day_after_it() -> None:
    assert statistics_of("c")["marketplace_sales"] == 0  # listed on the day of the first sale
    assert statistics_of("d")["marketplace_sales"] == 1


def test_no_listing_sees_its_own_sale() -> None:
    same_day = pl.DataFrame(CLEAN).with_columns(sold_on=pl.col("listed_on"), sold_price=pl.lit(1.0))
    told = with_statistics(same_day, {"marketplace": history_table(same_day, None),
                                      "category": history_table(same_day, "category"),
                                      "seller": history_table(same_day, "seller_id")})  # fmt: skip
    earlier = {d: same_day.filter(pl.col("sold_on") < d).height for d in same_day["listed_on"]}
    assert told["marketplace_sales"].to_list() == [earlier[d] for d in told["listed_on"]]


def test_a_listing_sees_its_own_sellers_and_categorys_history() -> None:
    row = statistics_of("d")
    assert (row["seller_median"], row["seller_sales"]) == (10.0, 1)
    assert (row["category_median"], row["category_sales"]) == (10.0, 1)


def test_a_seller_without_history_falls_back_to_the_category_and_keeps_a_count_of_zero() -> None:
    row = statistics_of("e")
    assert (row["category_median"], row["category_sales"]) == (15.0, 2)
    assert (row["seller_median"], row["seller_sales"]) == (15.0, 0)


def test_a_category_without_history_falls_back_to_all() -> None:
    row = statistics_of("f")
    assert row["seller_median"] == row["category_median"] == row["marketplace_median"] == 20.0
    assert row["seller_sales"] == row["category_sales"] == 0


def test_rows_keep_their_order() -> None:
    assert with_statistics(CLEAN, TABLES)["listing_id"].to_list() == list("abcdef")


def test_nobodys_sales_make_an_empty_table_that_conforms() -> None:
    nobody = CLEAN.with_columns(seller_id=pl.lit(None, pl.String))
    assert conforming(history_table(nobody, "seller_id"), SELLER_STATISTICS).is_empty()


@pytest.mark.parametrize("key", [None, "category", "seller_id"])
def test_the_leak_check_passes_what_is_right(key: str | None) -> None:
    assert future_rows(history_table(CLEAN, key), CLEAN, key).is_empty()


@pytest.mark.parametrize("key", [None, "category", "seller_id"])
def test_the_leak_check_finds_a_table_that_sees_sales_of_its_own_day(key: str | None) -> None:
    leaking = history_table(CLEAN, key).with_columns(as_of=pl.col("as_of").dt.offset_by("-1d"))
    assert future_rows(leaking, CLEAN, key).height > 0


def test_the_leak_check_finds_a_row_that_counts_a_sale_too_many() -> None:
    padded = history_table(CLEAN, None).with_columns(sales=pl.col("sales") + 1)
    assert future_rows(padded, CLEAN, None).height == 3


@pytest.mark.parametrize("key", [None, "category", "seller_id"])
def test_the_leak_check_recomputes_prices_and_passes_what_is_right(key: str | None) -> None:
    assert hindsight_rows(history_table(CLEAN, key), CLEAN, key) == []


@pytest.mark.parametrize("moment", ["q1", "median", "q3", "mean"])
def test_the_leak_check_finds_a_price_seen_in_hindsight(moment: str) -> None:
    rows = history_table(CLEAN, None)
    leaking = rows.with_columns(pl.col(moment).shift(-1).fill_null(pl.col(moment)))
    assert len(hindsight_rows(leaking, CLEAN, None)) == 2
