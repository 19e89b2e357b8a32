"""What tells that a listing is as it was."""

from datetime import date
from math import log

import polars as pl
import pytest

from vps_ml.features.unchanged import MADE_FROM, WHERE_IT_LIES, kept, made_from

ROWS = pl.DataFrame(
    {
        "listing_id": ["a", "b", "c"],
        "title": ["lamp", None, ""],
        "labels": [["x", "y"], [], None],
        "median": [1.0, None, 3.0],
        "embedding_path": ["p", "p", "q"],
        "embedding_row": [0, 1, 0],
    }
)
OTHER = {"listing_id": "z", "title": "", "labels": ["xy"], "median": 1.0000001}


def hashes(rows: pl.DataFrame, *alike: object) -> dict[str, int]:
    return dict(zip(rows["listing_id"], made_from(rows, *alike), strict=True))


@pytest.mark.parametrize("column", OTHER)
def test_whatever_of_a_listing_changes_its_hash_does_and_no_others(column: str) -> None:
    first = pl.int_range(pl.len()) == 0
    changed = ROWS.with_columns(
        pl.when(first).then(pl.lit(OTHER[column], ROWS.schema[column])).otherwise(pl.col(column)).alias(column)
    )
    before, after = made_from(ROWS, "v"), made_from(changed, "v")
    assert (before != after).to_list() == [True, False, False]


def test_an_empty_text_is_another_than_none_as_is_an_empty_list() -> None:
    rows = pl.DataFrame({"title": ["", None], "labels": [None, []]})
    for column in rows.columns:
        assert made_from(rows.select(column)).n_unique() == 2


def test_where_features_lie_and_beside_whom_does_not_matter() -> None:
    moved = ROWS.with_columns(embedding_path=pl.lit("elsewhere"), embedding_row=pl.lit(7)).reverse()
    assert hashes(moved, "v") == hashes(ROWS, "v")
    assert set(WHERE_IT_LIES) >= {"embedding_path", "embedding_row"}


def test_what_is_the_same_for_all_changes_every_hash() -> None:
    champions = {"photo": "m1"}
    one, other = hashes(ROWS, "v", champions), hashes(ROWS, "v", {"photo": "m2"})
    assert one == hashes(ROWS, "v", {"photo": "m1"})
    assert not one.keys() ^ other.keys()
    assert not set(one.values()) & set(other.values())


def test_kept_is_what_was_made_of_a_listing_from_the_same() -> None:
    now = ROWS.with_columns(made_from(ROWS, "v"), listed_on=pl.lit(date(2024, 1, 1)))
    before = pl.DataFrame(
        {
            "listing_id": ["a", "a", "b", "c", "gone"],
            "rank": [1, 2, 1, 1, 1],
            MADE_FROM: pl.Series([*now[MADE_FROM][[0, 0]], 1, None, 2], dtype=pl.UInt64),
        }
    )
    assert kept(before, now).select("listing_id", "rank").rows() == [("a", 1), ("a", 2)]
    assert kept(None, now).is_empty()


def test_the_last_bits_of_a_mean_are_no_change_and_a_cent_of_a_price_is() -> None:
    rows = pl.DataFrame({"category_mean": [0.1 + 0.2, 0.3, 0.30001]})
    one, same, other = made_from(rows)
    assert rows["category_mean"][0] != rows["category_mean"][1]
    assert one == same != other
    assert made_from(pl.DataFrame({"log_price": [log(1e6), log(1e6 + 0.01)]})).n_unique() == 2
