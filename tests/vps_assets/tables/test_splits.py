"""Splits by group and by time, and who takes no part."""

import hashlib
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_assets.tables.splits import fixed_shares, group_split, time_cuts, with_roles


def test_a_group_keeps_its_side_and_sides_have_their_shares() -> None:
    keys = pl.Series([f"g{i}" for i in range(20_000)])
    side = group_split(keys, 0.6, 0.2)
    assert side.to_list() == group_split(keys.reverse(), 0.6, 0.2).reverse().to_list()
    # three standard errors of a share of 0.6 over 20,000 groups are 0.0104
    assert (side == "train").mean() == pytest.approx(0.6, abs=0.0104)
    assert (side == "validation").mean() == pytest.approx(0.2, abs=0.0085)


@given(st.lists(st.text()))
def test_a_keys_share_is_the_first_eight_bytes_of_its_sha256(keys: list[str]) -> None:
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    expected = [int.from_bytes(digest[:8], "big") / 2**64 for digest in digests]
    assert fixed_shares(pl.Series(keys, dtype=pl.String)).to_list() == expected


def test_time_cuts_take_the_shares_of_the_rows() -> None:
    days = pl.Series([date(2024, 1, d) for d in range(1, 11)])
    assert time_cuts(days, 0.6, 0.2) == (date(2024, 1, 6), date(2024, 1, 8))


GROUPS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40
)


@given(GROUPS)
def test_no_group_and_no_photo_is_on_two_sides_whatever_the_data(rows: list[tuple[int, int, int, int]]) -> None:
    sides = ["train", "validation", "test"]
    split = with_roles(
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
            assert split.drop_nulls(role).group_by(key).agg(pl.col(role).n_unique())[role].max() in (1, None)
    tested = [row for row in rows if row[2] == 2]
    assert split.filter(pl.col("group_role") == "test").height == len(tested)


ON = date(2024, 1, 1)


def one_by_one(**columns: list) -> pl.DataFrame:
    """Rows of groups and photos of their own."""
    count = len(columns["time_split"])
    keys = [str(i) for i in range(count)]
    frame = pl.DataFrame({"group_key": keys, "photo_hash": keys, "split": ["train"] * count, **columns})
    return with_roles(frame)


def test_open_listings_take_no_part_in_a_split() -> None:
    price = pl.Series([None], dtype=pl.Float64)
    split = one_by_one(time_split=["train"], log_price=price, listed_on=[ON], sold_on=pl.Series([None], dtype=pl.Date))
    assert split.select("group_role", "time_role").rows() == [(None, None)]


def test_a_sale_after_its_sides_last_day_takes_no_part_in_the_split_by_time() -> None:
    days = [date(2024, 1, d) for d in (1, 2, 3, 4)]
    split = one_by_one(
        time_split=["train", "train", "validation", "test"],
        log_price=[1.0] * 4,
        listed_on=days,
        sold_on=[date(2024, 1, d) for d in (3, 2, 4, 9)],
    )
    assert split["time_role"].to_list() == [None, "train", None, "test"]
    assert split["group_role"].to_list() == ["train"] * 4
