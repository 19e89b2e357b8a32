"""Serving reads the rows of the listings' own groups, and says the same as if it had read them all."""

import polars as pl
from sales import CLEAN, tables_of

from vps_assets.serving.histories import Histories
from vps_ml.features.statistics import with_statistics

TABLES = tables_of(CLEAN)


def test_a_listing_sees_the_same_in_the_rows_of_its_groups_as_in_all() -> None:
    histories = Histories.of(TABLES)
    for rows in (CLEAN, *CLEAN.iter_slices(1)):
        assert with_statistics(rows, histories.of_listings(rows)).equals(with_statistics(rows, TABLES))


def test_no_row_of_another_group_is_read() -> None:
    one = CLEAN.filter(pl.col("listing_id") == "e")
    read = Histories.of(TABLES).of_listings(one)
    for history, key in (("category", "category"), ("seller", "seller_id")):
        known = set(TABLES[history][key])
        assert set(read[history][key]) == set(one[key]) & known < known
    own = {f"{kind}={label}" for kind in ("brand", "condition") for label in one[kind]}
    own |= {f"attributes={label}" for label in one["attributes"].explode()}
    assert set(read["label"]["label"]) == own & set(TABLES["label"]["label"]) < set(TABLES["label"]["label"])


def test_a_group_without_sales_has_no_rows() -> None:
    unknown = CLEAN.head(1).with_columns(category=pl.lit("boats"), seller_id=pl.lit(None, pl.String))
    read = Histories.of(TABLES).of_listings(unknown)
    assert read["category"].is_empty() and read["seller"].is_empty()
    assert read["category"].schema == TABLES["category"].schema
