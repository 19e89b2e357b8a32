"""What each listing sees of the statistics tables: the past as of its listing date, and nothing later."""

from dataclasses import replace
from datetime import date, timedelta
from math import log

import polars as pl
import pytest
from sales import CLEAN, tables_of

from vps_assets.assets import features
from vps_assets.assets.backbones import training_photos
from vps_assets.assets.features import (
    OF_LISTING,
    OPEN,
    SOLD,
    newest_offers,
    sampled,
    share_taken,
    sold_listings,
    with_features,
)
from vps_assets.tables.listings import CLEAN_LISTINGS
from vps_assets.tables.schemas import types
from vps_ml.features.given import SAID
from vps_ml.features.statistics import COUNTS_AS, with_statistics
from vps_ml.photos.quality import QUALITY_COLUMNS
from vps_ml.recipes import demo

TABLES = tables_of(CLEAN)


def statistics_of(listing_id: str) -> dict:
    return with_statistics(CLEAN, TABLES).filter(pl.col("listing_id") == listing_id).row(0, named=True)


def test_a_listing_of_the_first_day_has_no_history() -> None:
    row = statistics_of("a")
    assert row["marketplace_median"] is None
    assert row["seller_sales"] == row["category_sales"] == row["marketplace_sales"] == 0


def test_a_sale_counts_from_the_day_after_it() -> None:
    assert statistics_of("c")["marketplace_sales"] == 0  # listed on the day of the first sale
    assert statistics_of("d")["marketplace_sales"] == 1


def test_no_listing_sees_its_own_sale() -> None:
    same_day = pl.DataFrame(CLEAN).with_columns(sold_on=pl.col("listed_on"), sold_price=pl.lit(1.0))
    joined = with_statistics(same_day, tables_of(same_day))
    earlier = {d: same_day.filter(pl.col("sold_on") < d).height for d in same_day["listed_on"]}
    assert joined["marketplace_sales"].to_list() == [earlier[d] for d in joined["listed_on"]]


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


def test_a_ratio_is_of_a_history_to_the_next_wider_one_and_one_where_it_falls_back_to_it() -> None:
    row = statistics_of("e")
    assert row["category_median_ratio"] == row["category_median"] / row["marketplace_median"] == 15.0 / 20.0
    assert row["seller_median_ratio"] == 1.0
    assert statistics_of("f")["category_q1_ratio"] == 1.0
    assert statistics_of("a")["category_mean_ratio"] is None


def test_rows_keep_their_order() -> None:
    assert with_statistics(CLEAN, TABLES)["listing_id"].to_list() == list("abcdef")


def test_no_price_model_sees_the_asking_price() -> None:
    """What models are trained on, and what open listings are priced by, is the same whatever is asked."""
    words = pl.DataFrame({"listing_id": list("abcdef"), "text_id": "t", "path": "p", "row": range(6)})
    photos = words.select(
        "listing_id", "path", "row", embedding_id=pl.lit("e"), tasks=pl.lit(["category"])
    ).with_columns(pl.lit(0.5).alias(name) for name in QUALITY_COLUMNS)
    absent = {name: pl.Series(name, [None] * 6, dtype) for name, dtype in types(CLEAN_LISTINGS).items()}
    clean = CLEAN.with_columns(series for name, series in absent.items() if name not in CLEAN.columns).with_columns(
        log_price=pl.col("sold_price").log(), split=pl.lit("train"), time_split=pl.lit("train")
    )
    seen = []
    for asked in (1.0, 1e6):
        offered = clean.with_columns(price=pl.lit(asked)).select(OF_LISTING)
        seen.append([with_features(selection, offered, photos, words, TABLES, demo()) for selection in (SOLD, OPEN)])
    assert seen[0][0].equals(seen[1][0]) and seen[0][0].height > 0
    assert seen[0][1].equals(seen[1][1])
    assert "price" not in seen[0][0].columns + seen[0][1].columns


def test_labels_cost_what_items_that_have_them_sold_for_before_pulled_to_the_marketplace_where_these_are_few() -> None:
    """Listed on day 4: a, b and c have sold (10, 20, 40; median 20), d on that day itself, so it does not count."""
    row = statistics_of("e")
    acme = 2 / (2 + COUNTS_AS) * log(25 / 20)  # a and c
    assert row["brand_log_ratio"] == pytest.approx(acme)
    assert row["condition_log_ratio"] == pytest.approx(2 / (2 + COUNTS_AS) * log(25 / 20))
    white, wool = 2 / (2 + COUNTS_AS) * log(15 / 20), 1 / (1 + COUNTS_AS) * log(20 / 20)  # a and b; b
    assert row["attributes_log_ratio"] == pytest.approx((white + wool) / 2)
    assert row["specifications_log_ratio"] is None


def test_a_label_that_has_not_sold_before_says_nothing() -> None:
    row = statistics_of("f")
    assert row["brand_log_ratio"] is row["attributes_log_ratio"] is row["condition_log_ratio"] is None
    assert statistics_of("a")["brand_log_ratio"] is None
    labels = TABLES["label"].filter(pl.col("label") == "attributes=white").sort("as_of")
    assert labels["sales"].to_list() == [1, 2], "a label that is given twice counts once"


def test_of_very_many_sold_listings_a_fixed_sample_of_whole_groups_is_taken() -> None:
    rows = pl.DataFrame(
        {"group_key": [f"g{i // 2}" for i in range(4000)], "listing_id": [f"L{i}" for i in range(4000)]}
    )
    assert share_taken(4000, 4000) == 1
    assert sampled(rows, 1.0).equals(rows)
    some = sampled(rows, share_taken(4000, 1000))
    assert 800 < some.height < 1200
    assert some.group_by("group_key").len()["len"].unique().to_list() == [2], "a group is cut"
    twice = pl.concat([rows, rows.with_columns(group_key="new" + pl.col("group_key"))])
    more = sampled(twice, share_taken(8000, 2000))
    assert set(some["group_key"]) == {key for key in more["group_key"] if not key.startswith("new")}


def test_a_sample_is_on_average_no_larger_than_wanted_and_stays_that_of_the_day_before_for_weeks() -> None:
    shares = [share_taken(sold, 1000) for sold in range(1001, 8001)]
    for sold, share in enumerate(shares, 1001):
        assert 0.91 * 1000 < share * sold <= 1000.001
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 3 * 8, "three octaves"
    assert [share_taken(1000 * 2**octave, 1000) for octave in range(12)] == [0.5**octave for octave in range(12)]


def sold_on_the_first_day() -> pl.DataFrame:
    """300 listings, all of them training rows, each a group of its own."""
    absent = {name: pl.Series(name, [None] * 300, dtype) for name, dtype in types(CLEAN_LISTINGS).items()}
    return pl.DataFrame(absent).with_columns(
        listing_id=pl.format("L{}", pl.int_range(300)),
        group_key=pl.format("g{}", pl.int_range(300)),
        photo_hash=pl.format("p{}", pl.int_range(300)),
        listed_on=date(2024, 1, 1),
        sold_on=date(2024, 1, 1),
        log_price=1.0,
        split=pl.lit("train"),
        time_split=pl.lit("train"),
    )


def test_backbones_learn_from_the_sample_that_price_models_see() -> None:
    sold = sold_on_the_first_day()
    few = replace(demo(), pricing=replace(demo().pricing, most_sold=100))
    learnt = training_photos(sold, few)
    assert learnt["photo_hash"].to_list() == sold_listings(sold, sold, few)["photo_hash"].to_list()
    assert 60 < learnt.height < 140 and training_photos(sold, demo()).height == 300


def test_the_roles_of_the_same_listings_are_found_once_and_those_of_others_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever they differ in, a photo that came twice, a price, a day of sale, the sample; but not in their order."""
    found, with_roles = list[int](), features.with_roles
    monkeypatch.setattr(features, "SAMPLES", {})
    monkeypatch.setattr(features, "with_roles", lambda rows: found.append(1) or with_roles(rows))
    sold = sold_on_the_first_day()
    first = pl.col("listing_id") == "L0"
    few = replace(demo(), pricing=replace(demo().pricing, most_sold=100))
    for rows, recipe in (
        (sold, demo()),
        (sold.with_columns(photo_hash=pl.when(first).then(pl.lit("p1")).otherwise("photo_hash")), demo()),
        (sold.with_columns(log_price=pl.when(~first).then("log_price")), demo()),
        (sold.with_columns(sold_on=pl.when(first).then(date(2024, 1, 2)).otherwise("sold_on")), demo()),
        (sold.with_columns(split=pl.when(first).then(pl.lit("test")).otherwise("split")), demo()),
        (sold.head(299), demo()),
        (sold, few),
    ):
        before = len(found)
        anew = sold_listings(rows, rows, recipe)
        again = sold_listings(rows.reverse(), rows, recipe)
        assert len(found) == before + 1
        assert again.equals(anew)
        assert anew.drop("served_role", "group_role", "time_role").equals(
            rows.filter(pl.col("listing_id").is_in(anew["listing_id"].implode())).sort("listing_id")
        )
    assert len(found) == 7
    assert len(features.SAMPLES) == 1, "of many listings one would be as large as another"


def test_a_sample_is_as_large_a_share_as_of_all_sales_where_some_have_no_features() -> None:
    """Those out of bounds, which have none, are sampled by the same."""
    sold = sold_on_the_first_day()
    few = replace(demo(), pricing=replace(demo().pricing, most_sold=100))
    everything, there = sold_listings(sold, sold, few), sold.head(40)
    assert set(sold_listings(there, sold, few)["listing_id"]) == set(everything["listing_id"]) & set(
        there["listing_id"]
    )


def test_of_the_offers_the_newest_are_taken_those_whose_seller_says_anything_too_and_the_one_that_sold_last() -> None:
    day = date(2024, 1, 1)
    rows = pl.DataFrame(
        {
            "listing_id": [f"L{number}" for number in range(10)],
            "listed_at": [day + timedelta(days=number) for number in range(10)],
            "sold_at": [day + timedelta(days=30 if number == 0 else number) for number in range(9)] + [None],
            "price": [None if number == 9 else 1.0 for number in range(10)],
            "title": ["a bag" if number in (2, 4) else None for number in range(10)],
        }
    ).with_columns(pl.lit(None, pl.String).alias(name) for name in SAID if name != "title")
    assert newest_offers(rows, rows, demo(), 2)["listing_id"].to_list() == ["L0", "L2", "L4", "L7", "L8"]
    assert newest_offers(rows, rows, demo(), 100).equals(rows.head(9))
