"""The statistics tables: corrected where sales have changed, to what all sales would give."""

import gc
import weakref
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sales import CLEAN, bent, clean_written, corrected, day, sale, tables, tables_of, with_the_sales

from vps_assets.assets.checks import of_each_label, sales_of, wrong_counts
from vps_assets.home import Home
from vps_assets.warehouse import statistics_state
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.statistics_state import KEYS, Correction, correct_history, frugal
from vps_ml.features.tabular import LABEL_HISTORY
from vps_ml.recipes import demo


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    """A few sales and their statistics."""
    return with_the_sales(Warehouse(home))


def test_a_table_has_a_row_per_day_from_which_the_history_is_different() -> None:
    assert tables_of(CLEAN)["marketplace"].select("as_of", "sales", "median").rows() == [
        (day(3), 1, 10.0),
        (day(4), 3, 20.0),
        (day(5), 4, 30.0),
    ]


def test_nobodys_sales_make_an_empty_table() -> None:
    nobody = CLEAN.with_columns(seller_id=pl.lit(None, pl.String))
    assert tables_of(nobody)["seller"].is_empty()


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


def test_with_nothing_changed_a_table_that_is_named_is_computed_again(warehouse: Warehouse) -> None:
    bent(warehouse, "category_statistics", "median = 1")
    assert correct_history(warehouse, "category_statistics", demo()).rebuilt
    assert tables(warehouse)["category"].sort(pl.all()).equals(tables_of(CLEAN)["category"].sort(pl.all()))


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
    sold = rows.drop_nulls("sold_on")
    sold = of_each_label(sold) if key == LABEL_HISTORY else sold.drop_nulls(key) if key else sold
    found = set()
    for part in sold.partition_by(key) if key else [sold]:
        for sold_on in part["sold_on"].unique():
            price = part.filter(pl.col("sold_on") <= sold_on)["sold_price"].to_numpy()
            figures = [*np.quantile(price, [0.25, 0.5, 0.75]), price.mean()]
            group = [part[key][0]] if key else []
            found.add((sold_on + timedelta(days=1), *group, price.size, *(round(float(value), 9) for value in figures)))
    return found


NO_LISTING = CLEAN.clear()


SALE = st.tuples(
    st.integers(1, 4), st.none() | st.integers(0, 3), st.integers(1, 9), st.sampled_from("xy"), st.sampled_from("ab")
)


@settings(max_examples=4)
@given(st.lists(st.lists(SALE, max_size=5), min_size=2, max_size=4))
def test_however_sales_land_change_and_go_the_tables_are_those_of_brute_force(states: list[list[tuple]]) -> None:
    """Each state takes the place of the one before: sales of any day appear, change and disappear."""
    with TemporaryDirectory() as folder:
        warehouse = Warehouse(Home(Path(folder)))
        for state in states:
            rows = []
            for i, (listed, after, price, category, seller) in enumerate(state):
                sold = (None, None) if after is None else (day(listed + after), price / 7)
                rows.append((f"{i}", day(listed), *sold, category, seller, category, None, [seller, "all"], []))
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
            "brand": rng.choice(["Acme", "Brio"], size),
            "condition": None,
            "attributes": [["white", "wool", "wool"][: i % 4] for i in range(size)],
            "specifications": None,
        },
        schema_overrides={name: CLEAN.schema[name] for name in ("condition", "specifications")},
    )
    warehouse = Warehouse(home)
    for until in (8, 14, 11, 30):  # forward, back, and to the end
        clean_written(warehouse, rows.filter(pl.col("sold_on") <= day(until)))
        corrected(warehouse)
    for name, table in tables(warehouse).items():
        assert table.sort(pl.all()).equals(tables_of(rows)[name].sort(pl.all()))


def test_a_table_of_before_sellers_gave_a_condition_has_the_history_of_its_other_labels(home: Home) -> None:
    warehouse = Warehouse(home)
    clean_written(warehouse, CLEAN.drop("condition"))
    corrected(warehouse)
    labels = set(tables(warehouse)["label"]["label"])
    assert {"brand=Acme", "attributes=wool"} <= labels
    assert not [label for label in labels if label.startswith("condition")]
    assert wrong_counts(warehouse, "label_statistics", "true", []) == 0
    sold = sales_of(warehouse, ["brand", "condition"])
    assert sold is not None and sold["condition"].null_count() == sold.height == 4


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_groups_taken_a_few_at_a_time_come_to_the_same(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """So that memory does not grow with the number of sellers; also where a late sale corrects some of them."""
    late = pl.concat([CLEAN, sale("late", 1, 2, 70.0, "bob"), sale("later", 2, 3, 5.0, "cid")])
    whole = clean_written(with_the_sales(Warehouse(Home(tmp_path / "whole"))), late)
    corrected(whole)
    monkeypatch.setattr(statistics_state, "MOST_AT_ONCE", at_once)
    sliced = clean_written(with_the_sales(Warehouse(home)), late)
    corrected(sliced)
    for history, rows in tables(whole).items():
        assert rows.sort(pl.all()).equals(tables(sliced)[history].sort(pl.all())), history
    assert sliced.records() == whole.records()


def test_groups_with_more_sales_than_are_taken_at_once_are_taken_one_by_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_state, "MOST_AT_ONCE", 1)
    seen: list[tuple[int, int]] = []
    once = statistics_state.corrected_rows

    def noted(connection: object, asset: str, first: int, until: int) -> pl.DataFrame:
        if asset == "seller_statistics":
            seen.append((first, until))
        return once(connection, asset, first, until)  # type: ignore[arg-type]

    monkeypatch.setattr(statistics_state, "corrected_rows", noted)
    with_the_sales(Warehouse(home))
    assert seen == [(0, 1), (1, 2)]  # ann has three sales, bob one


def test_a_slice_is_let_go_once_it_is_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is registered lives until its transaction ends: ten million rows of sellers did."""
    written: list[weakref.ref] = []
    left: list[int] = []
    once, to_arrow = statistics_state.add, pl.DataFrame.to_arrow

    def noted(connection: duckdb.DuckDBPyConnection, asset: str, rows: pl.DataFrame) -> int:
        with monkeypatch.context() as watched:
            watched.setattr(pl.DataFrame, "to_arrow", followed)
            added = once(connection, asset, rows)
        gc.collect()
        left.append(sum(slice_() is not None for slice_ in written))
        return added

    def followed(rows: pl.DataFrame) -> object:
        table = to_arrow(rows)
        written.append(weakref.ref(table))
        return table

    monkeypatch.setattr(statistics_state, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(statistics_state, "add", noted)
    warehouse = with_the_sales(Warehouse(home))
    assert len(left) > 4 and not any(left)
    assert all(table.height for table in tables(warehouse).values())


def test_a_correction_takes_a_bounded_part_of_the_memory_and_gives_it_back(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[str] = []
    once = statistics_state.take

    def noted(connection: duckdb.DuckDBPyConnection, asset: str, changed: list[str]) -> None:
        limits.append(limit_of(connection))
        once(connection, asset, changed)

    monkeypatch.setattr(statistics_state, "take", noted)
    with warehouse.connect(read_only=False) as held:  # so that the file's database, which is limited, stays open
        before = limit_of(held)
        correct_history(warehouse, "seller_statistics", demo())
        assert limits == ["953.6 MiB"]
        assert gibibytes(limit_of(held)) == pytest.approx(gibibytes(before), rel=0.02)
    with warehouse.connect(read_only=True) as later:
        assert gibibytes(limit_of(later)) == pytest.approx(gibibytes(before), rel=0.02)


def test_an_error_within_bounded_memory_is_told_and_leaves_no_bound(home: Home) -> None:
    with Warehouse(home).connect(read_only=False) as connection:
        before = limit_of(connection)
        connection.execute("begin")
        with pytest.raises(duckdb.ConversionException), frugal(connection):
            connection.execute("select 'x'::integer from range(1)")
    with Warehouse(home).connect(read_only=False) as connection:
        assert gibibytes(limit_of(connection)) == pytest.approx(gibibytes(before), rel=0.02)


def gibibytes(text: str) -> float:
    assert text.endswith(" GiB"), text
    return float(text.removesuffix(" GiB"))


def limit_of(connection: duckdb.DuckDBPyConnection) -> str:
    """The bound in force: the setting is what is shown, which `reset` changes alone."""
    return connection.execute("select memory_limit from pragma_database_size()").fetchall()[0][0]
