import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.features.statistics import price_history


def test_quartiles_and_mean_are_those_of_the_sales_before_the_day() -> None:
    history = price_history(np.array([10.0, 30.0, 20.0, 40.0]), np.array([1, 1, 2, 5]), np.array([0, 0, 0, 0]))
    assert history.as_of_day.tolist() == [2, 3, 6]
    assert history.sales.tolist() == [2, 3, 4]
    assert history.quartiles.tolist() == [[15.0, 20.0, 25.0], [15.0, 20.0, 25.0], [17.5, 25.0, 32.5]]
    assert history.mean.tolist() == [20.0, 20.0, 25.0]


def test_no_sales_make_no_history() -> None:
    history = price_history(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert history.sales.size == 0
    assert history.quartiles.shape == (0, 3)


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=60))
def test_history_equals_brute_force_over_earlier_sales(sales: list[tuple[int, int, int]]) -> None:
    cents, days, groups = (np.array(values) for values in zip(*sales, strict=True))
    history = price_history(cents / 100, days, groups)
    rows = list(zip(history.group, history.as_of_day, strict=True))
    assert sorted(rows) == sorted({(g, d + 1) for g, d in zip(groups, days, strict=True)})
    for i, (group, day) in enumerate(rows):
        earlier = (cents / 100)[(groups == group) & (days < day)]
        assert history.sales[i] == earlier.size
        assert history.quartiles[i] == pytest.approx(np.quantile(earlier, [0.25, 0.5, 0.75]), rel=1e-12)
        assert history.mean[i] == pytest.approx(earlier.mean(), rel=1e-12)
