"""What comparables say of a price, in figures."""

import polars as pl
import pytest

from vps_ml.ops.comparables import FIGURES, summary_of


def test_the_figures_are_of_priced_items_that_have_five_and_whose_category_has_sold() -> None:
    judged = pl.DataFrame(
        {
            "group_key": ["a", "b", "c", "d"],
            "log_price": [3.0, 4.0, 3.0, 3.0],
            "category_median": [20.085536923187668, 20.085536923187668, None, 20.0],
            "predicted_log_price": [3.1, 3.8, 9.0, 9.0],
            "qualified": [True, True, True, False],
            "comparables": [5, 5, 5, 5],
            "median": [3.3, 3.9, 9.0, 9.0],
            "least": [3.05, 3.9, 9.0, 9.0],
            "highest": [3.5, 4.2, 9.0, 9.0],
        }
    )
    found = summary_of(judged)
    assert (found["tested"], found["qualified"], found["shown"]) == (4, 3, 2)
    assert found["male"] == pytest.approx(0.15)
    assert found["male_of_comparables"] == pytest.approx(0.2)
    assert found["male_of_category"] == pytest.approx(0.5)
    assert found["difference"] == pytest.approx(-0.3)
    assert found["low"] == pytest.approx(-0.9)
    assert found["high"] == pytest.approx(0.3)
    assert found["suggested_inside"] == pytest.approx(0.5)
    assert found["sold_inside"] == pytest.approx(0.5)


def test_without_any_there_are_counts_alone() -> None:
    judged = pl.DataFrame(
        {"group_key": ["a"], "log_price": [3.0], "category_median": [20.0], "predicted_log_price": [3.1],
         "qualified": [True], "comparables": [4], "median": [3.0], "least": [3.0], "highest": [3.0]}
    )  # fmt: skip
    found = summary_of(judged)
    assert (found["tested"], found["qualified"], found["shown"]) == (1, 1, 0)
    assert {found[name] for name in FIGURES} == {None}
