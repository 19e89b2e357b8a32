from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vps_assets.assets.checks import hindsight_rows, last_correction, wrong_counts
from vps_assets.assets.statistics import with_statistics
from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.statistics_state import KEYS, Correction, correct_history
from vps_ml.recipes import demo

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


def clean_written(warehouse: Warehouse, rows: pl.DataFrame) -> Warehouse:
    """The rows as `clean_listings`, each date's fingerprint that of what is in it."""
    by_date = rows.partition_by("listed_on", as_dict=True)
    made = {str(listed_on): str(hash(str(part.rows()))) for (listed_on,), part in by_date.items()}
    known = warehouse.fingerprints().get("clean_listings", {})
    warehouse.replace("clean_listings", rows, "true", [], dict.fromkeys(known) | made)
    return warehouse


def corrected(warehouse: Warehouse) -> dict[str, Correction]:
    return {asset: correct_history(warehouse, asset, demo()) for asset in KEYS}


def tables(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    return {asset.removesuffix("_statistics"): warehouse.read(asset) for asset in KEYS}


def tables_of(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The statistics tables of some clean listings, computed whole."""
    with TemporaryDirectory() as folder:
        warehouse = clean_written(Warehouse(Home(Path(folder))), rows)
        corrected(warehouse)
        return tables(warehouse)


TABLES = tables_of(CLEAN)


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
    told = with_statistics(same_day, tables_of(same_day))
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


def test_nobodys_sales_make_an_empty_table() -> None:
    nobody = CLEAN.with_columns(seller_id=pl.lit(None, pl.String))
    assert tables_of(nobody)["seller"].is_empty()


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    made = clean_written(Warehouse(home), CLEAN)
    corrected(made)
    return made


def bent(warehouse: Warehouse, asset: str, change: str) -> None:
    with warehouse.connect(read_only=False) as connection:
        connection.execute(f"update {asset} set {change}")


@pytest.mark.parametrize("asset", KEYS)
def test_the_leak_check_passes_what_is_right(warehouse: Warehouse, asset: str) -> None:
    assert wrong_counts(warehouse, asset, "true", []) == 0
    assert hindsight_rows(warehouse.read(asset), CLEAN.drop_nulls("sold_on"), KEYS[asset]) == []


@pytest.mark.parametrize("asset", KEYS)
def test_the_leak_check_finds_a_table_that_sees_sales_of_its_own_day(warehouse: Warehouse, asset: str) -> None:
    bent(warehouse, asset, "as_of = as_of - 1")
    assert wrong_counts(warehouse, asset, "true", []) > 0


def test_the_leak_check_finds_a_row_that_counts_a_sale_too_many(warehouse: Warehouse) -> None:
    bent(warehouse, "marketplace_statistics", "sales = sales + 1")
    assert wrong_counts(warehouse, "marketplace_statistics", "true", []) == 3


@pytest.mark.parametrize("moment", ["q1", "median", "q3", "mean"])
def test_the_leak_check_finds_a_price_seen_in_hindsight(moment: str) -> None:
    rows = TABLES["marketplace"].sort("as_of")
    leaking = rows.with_columns(pl.col(moment).shift(-1).fill_null(pl.col(moment)))
    assert len(hindsight_rows(leaking, CLEAN.drop_nulls("sold_on"), None)) == 2


def sale(listing_id: str, listed: int, sold: int, price: float, seller: str = "ann") -> pl.DataFrame:
    row = (listing_id, day(listed), day(sold), price, "phone", seller)
    return pl.DataFrame([row], schema=CLEAN.schema, orient="row")


def test_a_new_day_writes_its_own_rows_alone(warehouse: Warehouse) -> None:
    before = tables(warehouse)
    clean_written(warehouse, pl.concat([CLEAN, sale("g", 5, 6, 90.0)]))
    done = corrected(warehouse)
    assert done["seller_statistics"] == Correction(False, 1, 1, day(6), 1)
    for name, table in tables(warehouse).items():
        assert table.filter(pl.col("as_of") <= day(6)).sort(pl.all()).equals(before[name].sort(pl.all()))
        assert table.height == before[name].height + 1


def test_a_late_sale_corrects_its_group_from_the_day_after_it_and_nothing_else(warehouse: Warehouse) -> None:
    """Bob's sale of day 2 lands late: his rows, his category's and all's change from day 3, Ann's do not."""
    ann = tables(warehouse)["seller"].filter(pl.col("seller_id") == "ann")
    clean_written(warehouse, pl.concat([CLEAN, sale("late", 1, 2, 30.0, "bob")]))
    done = corrected(warehouse)
    assert done["seller_statistics"] == Correction(False, 1, 1, day(2), 2)
    assert done["category_statistics"].groups == 1  # phones, not shoes
    after = tables(warehouse)
    assert after["seller"].filter(pl.col("seller_id") == "ann").sort("as_of").equals(ann.sort("as_of"))
    assert after["seller"].filter(pl.col("seller_id") == "bob").sort("as_of").select(
        "as_of", "sales", "median"
    ).rows() == [
        (day(3), 1, 30.0),
        (day(4), 2, 25.0),
    ]
    assert after["marketplace"].sort("as_of")["median"].to_list() == [20.0, 25.0, 30.0]


def test_with_nothing_changed_a_table_asked_for_by_name_is_computed_anew(warehouse: Warehouse) -> None:
    bent(warehouse, "category_statistics", "median = 1")
    assert correct_history(warehouse, "category_statistics", demo()).rebuilt
    assert tables(warehouse)["category"].sort(pl.all()).equals(TABLES["category"].sort(pl.all()))


def test_after_a_correction_the_checks_look_at_what_it_touched(warehouse: Warehouse) -> None:
    assert last_correction("seller_statistics", warehouse) == ("true", [])
    clean_written(warehouse, pl.concat([CLEAN, sale("g", 5, 6, 90.0)]))
    corrected(warehouse)
    assert last_correction("seller_statistics", warehouse) == ("as_of > ?", [day(6)])


def test_a_correction_that_fails_leaves_table_and_state_as_they_were(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(warehouse)
    clean_written(warehouse, pl.concat([CLEAN, sale("g", 5, 6, 90.0)]))
    with monkeypatch.context() as patched:
        patched.setattr("vps_assets.warehouse.statistics_state.note_taken", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            correct_history(warehouse, "seller_statistics", demo())
    assert tables(warehouse)["seller"].equals(before["seller"])
    assert correct_history(warehouse, "seller_statistics", demo()).rows == 1


def brute_force(rows: pl.DataFrame, key: str | None) -> set[tuple]:
    """(as_of, group, sales, quartiles, mean), each from the sales themselves."""
    sold = rows.drop_nulls(["sold_on", *([key] if key else [])])
    found = set()
    for part in sold.partition_by(key) if key else [sold]:
        for sold_on in part["sold_on"].unique():
            price = part.filter(pl.col("sold_on") <= sold_on)["sold_price"].to_numpy()
            told = [*np.quantile(price, [0.25, 0.5, 0.75]), price.mean()]
            group = [part[key][0]] if key else []
            found.add((sold_on + timedelta(days=1), *group, price.size, *(round(float(value), 9) for value in told)))
    return found


NO_LISTING = CLEAN.clear()
SALE = st.tuples(
    st.integers(1, 4), st.none() | st.integers(0, 3), st.integers(1, 9), st.sampled_from("xy"), st.sampled_from("ab")
)


@settings(max_examples=10)
@given(st.lists(st.lists(SALE, max_size=5), min_size=2, max_size=4))
def test_however_sales_land_change_and_go_the_tables_are_those_of_brute_force(states: list[list[tuple]]) -> None:
    """Each state takes the place of the one before: sales of any day appear, change and disappear."""
    with TemporaryDirectory() as folder:
        warehouse = Warehouse(Home(Path(folder)))
        for state in states:
            rows = []
            for i, (listed, after, price, category, seller) in enumerate(state):
                sold = (None, None) if after is None else (day(listed + after), price / 7)
                rows.append((f"{i}", day(listed), *sold, category, seller))
            listings = pl.DataFrame(rows, schema=CLEAN.schema, orient="row")
            clean_written(warehouse, listings)
            corrected(warehouse)
            for asset, key in KEYS.items():
                table = warehouse.read(asset)
                money = [pl.col(name).round(9) for name in ("q1", "median", "q3", "mean")]
                assert set(table.with_columns(money).rows()) == brute_force(listings, key)
                assert wrong_counts(warehouse, asset, "true", []) == 0


def test_a_table_is_the_same_to_the_last_bit_whichever_way_it_came_about(home: Home) -> None:
    rng = np.random.default_rng(0)
    size = 400
    listed = rng.integers(1, 20, size)
    sold = listed + rng.integers(0, 9, size)
    rows = pl.DataFrame(
        {
            "listing_id": [str(i) for i in range(size)],
            "listed_on": [day(int(d)) for d in listed],
            "sold_on": [day(int(d)) for d in sold],
            "sold_price": np.exp(rng.normal(3, 1, size)),
            "category": rng.choice(["a", "b"], size),
            "seller_id": rng.choice(list("abcdefgh"), size),
        }
    )
    warehouse = Warehouse(home)
    for until in (8, 14, 11, 30):  # forward, back, and to the end
        clean_written(warehouse, rows.filter(pl.col("sold_on") <= day(until)))
        corrected(warehouse)
    for name, table in tables(warehouse).items():
        assert table.sort(pl.all()).equals(tables_of(rows)[name].sort(pl.all()))


def test_the_published_copy_opens_with_the_state_beside_the_tables(warehouse: Warehouse) -> None:
    warehouse.publish()
    with duckdb.connect(str(warehouse.home.analytics), read_only=True) as connection:
        assert connection.execute("select sum(sales) from state.seller_statistics").fetchall() == [(4,)]
