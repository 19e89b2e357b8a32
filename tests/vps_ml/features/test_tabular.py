"""The columns beside the photo: one table, for training and for serving."""

import math

import polars as pl
import pytest
from worlds import tabular_rows

from vps_ml.features.tabular import (
    ERRORS,
    PRICES,
    TABULAR,
    TabularColumn,
    expanded,
    hidden_from,
    tabular_columns,
    tabular_matrix,
)
from vps_ml.recipes import paper


def test_the_paper_sees_twelve_statistics() -> None:
    columns = tabular_columns(beyond_paper=paper().pricing.beyond_paper)
    assert tabular_matrix(tabular_rows(2), columns).shape == (2, 12)


def test_prices_become_their_logs_and_sales_the_logs_of_one_more() -> None:
    rows = pl.DataFrame({"seller_median": [1.0, None, math.e], "seller_sales": [0, None, 1]})
    (first, missing, last) = tabular_matrix(rows, ("seller_sales", "seller_median"))
    assert first.tolist() == [0, 0]
    assert missing[0] == 0  # nothing known of a seller: no sales
    assert math.isnan(missing[1])  # its price is the training mean, which is not known here
    assert last.tolist() == [math.log(2), 1]


@pytest.mark.parametrize("asked", ["colour", "seller_mean"])
def test_a_column_that_the_table_or_the_rows_lack_is_refused_by_name(asked: str) -> None:
    with pytest.raises(ValueError, match=f"no tabular column {asked}"):
        tabular_matrix(tabular_rows(2).drop("seller_mean"), ("seller_q1", asked))


def test_a_new_column_is_encoded_and_its_missing_value_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    condition = TabularColumn(lambda values: (values == "new").cast(pl.Float64).to_numpy(), missing="used")
    monkeypatch.setitem(TABULAR, "condition", condition)
    assert tabular_columns(beyond_paper=True)[-1] == "condition"
    assert "condition" not in tabular_columns(beyond_paper=False)
    rows = pl.DataFrame({"condition": ["new", None]})
    assert tabular_matrix(rows, ("condition",)).tolist() == [[1.0], [0.0]]


def test_a_label_that_enough_training_rows_have_is_a_column_of_zeros_and_ones() -> None:
    training = pl.DataFrame({"category": ["phone"] * 5 + ["shoes"] * 7 + ["vase"] * 4 + [None] * 9})
    columns = expanded(("category",), training)
    assert columns == ("category=phone", "category=shoes")  # four vases teach nothing
    rows = pl.DataFrame({"category": ["shoes", "vase", None, "a=b"]})
    assert tabular_matrix(rows, columns).tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    odd = expanded(("category",), pl.DataFrame({"category": ["a=b"] * 5}))
    assert tabular_matrix(rows, odd)[:, 0].tolist() == [0, 0, 0, 1]  # a label may have the sign itself


def test_errors_are_learnt_from_ratios_and_prices_from_levels_but_of_the_papers_columns_both() -> None:
    columns = ("category_median", "category_median_ratio", "seller_history", "category=phone")
    assert hidden_from(ERRORS, columns) == (0,)
    assert hidden_from(PRICES, columns) == (1,)
    papers = tabular_columns(beyond_paper=False)
    assert hidden_from(ERRORS, papers) == hidden_from(PRICES, papers) == ()


def test_labels_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="category holds labels"):
        tabular_matrix(pl.DataFrame({"category": ["phone"]}), ("category",))


def test_price_models_see_the_category_itself() -> None:
    assert "category" in tabular_columns(beyond_paper=True)
    assert "category" not in tabular_columns(beyond_paper=False)
