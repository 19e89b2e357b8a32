"""How far off a price will be: from what similar items sold for."""

import tracemalloc

import numpy as np
import pytest
from worlds import rows

from vps_ml.pricing import distances, expected_errors
from vps_ml.pricing.expected_errors import LEAST_EXPECTED_ERROR, Comparables, error_of
from vps_ml.pricing.kernels import KernelMachine


def line(prices: list[float]) -> Comparables:
    """Sold items at 0, 1, 2, ... on the first of three features, of which the third does not count."""
    x = np.zeros((len(prices), 3), dtype=np.float32)
    x[:, 0], x[:, 2] = np.arange(len(prices)), 50 * np.arange(len(prices))[::-1]
    return Comparables.among(rows(x), np.array(prices), np.arange(len(prices)), np.array([1.0, 1.0, 0.0]), 0)


def test_a_price_is_as_far_off_as_it_is_from_what_the_nearest_items_sold_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_errors, "NEAREST", 2)
    sold = line([1.0, 3.0, 9.0, 9.0])
    items = np.array([[0.1, 0, 7], [2.9, 0, 7]], dtype=np.float32)
    assert sold.expected_error(items, np.array([2.5, 9.0])) == pytest.approx([(1.5 + 0.5) / 2, LEAST_EXPECTED_ERROR])
    assert sold.expected_error(rows(items), np.array([2.5, 8.0])) == pytest.approx([1.0, 1.0])
    assert sold.expected_error(items[:0], np.empty(0)).shape == (0,)


def test_of_fewer_sold_items_than_are_asked_for_all_are_comparables() -> None:
    assert line([1.0, 2.0]).expected_error(np.zeros((1, 3), dtype=np.float32), np.array([0.0])) == pytest.approx([1.5])


def test_nearest_items_are_those_of_a_plain_search_however_many_are_asked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expected_errors, "AT_A_TIME", 7)
    monkeypatch.setattr(expected_errors, "READ_ROWS", 30)
    rng = np.random.default_rng(0)
    sold, items, scale = rng.normal(size=(80, 5)), rng.normal(size=(20, 5)), np.array([1.0, 0.5, 0.2, 0.0, 1.0])
    found = Comparables(np.float16(sold * scale), rng.normal(size=80), scale).nearest(items)
    apart = np.square(np.float16(sold * scale) - (items * scale)[:, None]).sum(axis=2)
    assert [set(row) for row in found] == [set(row) for row in np.argsort(apart)[:, :10]]


def test_searching_holds_a_few_items_distances_and_nothing_of_those_before() -> None:
    """Ten nearest of 20,000 each: the other numbers would be 160 KB an item."""
    rng = np.random.default_rng(0)
    sold = Comparables(np.float16(rng.normal(size=(20_000, 2))), rng.normal(size=20_000), np.ones(2))
    sold.nearest(rng.normal(size=(8, 2)))
    tracemalloc.start()
    assert sold.nearest(rng.normal(size=(3000, 2))).shape == (3000, 10)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 80e6


def test_few_of_many_wide_items_are_held_and_a_group_too_large_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_errors, "MOST_NUMBERS", 20)
    x, group = np.arange(24, dtype=np.float32).reshape(12, 2), np.repeat([0, 1, 2, 3], [9, 1, 1, 1])
    for seed in range(5):
        held = Comparables.among(rows(x), np.arange(12.0), group, np.ones(2), seed)
        assert 0 < len(held.log_price) <= 10
        assert (held.log_price < 9).sum() in (0, 9), "a group whole or not at all"
    one = Comparables.among(rows(x), np.arange(12.0), np.zeros(12), np.ones(2), 0)
    assert len(one.log_price) == 10


def test_where_there_are_more_sold_items_than_are_held_whole_groups_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "MOST_ROWS", 10)
    x, group = np.arange(60, dtype=np.float32)[:, None], np.arange(60) // 3
    held = Comparables.among(rows(x), np.arange(60.0), group, np.ones(1), 0)
    assert len(held.log_price) == 9
    assert (held.points[:, 0] == held.log_price).all()


def test_comparables_are_the_same_after_they_are_stored() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    own = line([1.0, 5.0, 2.0])
    stored = error_of(own.arrays() | {"scale": np.zeros(3)})
    assert stored.expected_error(x, x[:, 0]) == pytest.approx(own.expected_error(x, x[:, 0]))


def test_a_blend_of_before_goes_on_with_its_machine_of_errors() -> None:
    """One support vector at an item at the origin whose price is the mean: there the error is the greatest."""
    machine = KernelMachine(np.zeros((1, 3)), np.array([2.0]), 0.5, 1.0)
    before = error_of(machine.arrays("error") | {"scale": np.array([1.0, 0.5]), "numbers": np.array([7.0, 2.0])})
    items = np.array([[0, 0], [0, 2], [0, 0]], dtype=np.float32)
    expected = before.expected_error(items, np.array([7.0, 7.0, 9.0]))
    assert expected == pytest.approx([2.5, 0.5 + 2 * np.exp(-1), 0.5 + 2 * np.exp(-(0.3**2))])
