"""What is counted of a partition, and which columns are told to come from which."""

import polars as pl

from vps_assets.tables.column_lineage import COMPUTED, TAKEN_FROM, column_lineage
from vps_assets.tables.counts import COUNTED, OF_EACH, counted
from vps_assets.tables.schemas import TABLES, aligned


def test_each_figure_is_of_the_rows_alone_and_what_no_row_tells_is_left_out() -> None:
    rows = pl.DataFrame(
        {"qualified": [True, False, True], "inputs": ["photo", "photo", "both"], "reason": [None, "dark", None]}
    )
    assert counted("price_suggestions", rows) == {"qualified": 2, "by: photo": 2, "by: both": 1, "reason: dark": 1}
    reasons = pl.DataFrame({"reasons": [["no price", "no photo"], ["no price"]]})
    assert counted("quarantined_listings", reasons) == {"reason: no price": 2, "reason: no photo": 1}
    empty = aligned(pl.DataFrame(), TABLES["image_embeddings"])
    assert counted("image_embeddings", empty) == {}
    many = counted("quarantined_listings", pl.DataFrame({"reasons": [[f"truncated ({i} bytes)"] for i in range(50)]}))
    assert len(many) == 21
    assert many["reason: others"] == 30
    assert counted("champion_model", pl.DataFrame({"inputs": ["photo"]})) == {}


def test_every_table_that_is_counted_has_the_columns_that_are_counted() -> None:
    for table in {*COUNTED, *OF_EACH}:
        assert counted(table, aligned(pl.DataFrame(), TABLES[table])) is not None


def test_columns_come_from_columns_that_there_are() -> None:
    for table in {*TAKEN_FROM, *COMPUTED}:
        found = column_lineage(table)
        assert set(COMPUTED.get(table, {})) <= set(found) <= set(TABLES[table].columns)
        for sources in found.values():
            for parent, column in sources:
                assert column in TABLES[parent].columns, (table, parent, column)


def test_a_log_price_comes_from_the_sold_price_and_a_category_from_the_category() -> None:
    found = column_lineage("clean_listings")
    assert found["log_price"] == (("raw_listings", "sold_price"),)
    assert found["category"] == (("raw_listings", "category"),)
    assert column_lineage("raw_listings") == {}
