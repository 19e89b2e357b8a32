"""The columns beside the photo: one table, for training and for serving."""

import math

import polars as pl
import pytest
from worlds import tabular_rows

from vps_ml.features.tabular import TABULAR, TabularColumn, tabular_columns, tabular_matrix
from vps_ml.recipes import paper


def test_the_paper_sees_twelve_statistics() -> None:
    columns = tabular_columns(beyond_paper=paper().pricing.sale_counts)
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
