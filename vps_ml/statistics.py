"""Point-in-time statistics of sold prices, exact: arrays in, arrays out (method, section 4)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class History:
    """One row per group and day from which its history is different; sorted by group, then day."""

    group: Int[np.ndarray, " row"]
    as_of_day: Int[np.ndarray, " row"]
    """The row is of the sales before this day, and in force from it until the group's next row."""
    sales: Int[np.ndarray, " row"]
    quartiles: Float[np.ndarray, "row 3"]
    """First quartile, median and third quartile by linear interpolation (numpy's and DuckDB's default)."""
    mean: Float[np.ndarray, " row"]


def sorted_quantile(ordered: Float[np.ndarray, " sale"], level: float) -> float:
    """The quantile of an ascending array, by linear interpolation between the two nearest ranks."""
    position = (ordered.size - 1) * level
    below = int(position)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (position - below) * (ordered[above] - ordered[below]))


def price_history(
    price: Float[np.ndarray, " sale"], sold_day: Int[np.ndarray, " sale"], group: Int[np.ndarray, " sale"]
) -> History:
    """Quartiles and mean of each group's sold prices, as of the day after each of its days of sale.

    Args:
        price: in the warehouse's currency.
        sold_day: day number of the sale; a sale counts from the following day on.
        group: group number.

    Each group keeps its prices in order and merges a day's new ones in, so the cost per group is its days of
    sale times its sales, with no re-sorting.
    """
    order = np.lexsort((sold_day, group))
    price, sold_day, group = price[order], sold_day[order], group[order]
    new_group = np.diff(group, prepend=group[:1] - 1) != 0
    new_day = new_group | (np.diff(sold_day, prepend=sold_day[:1] - 1) != 0)
    starts = np.flatnonzero(new_day)
    ends = np.append(starts[1:], price.size)[: starts.size]
    sales, quartiles, means = [], [], []
    ordered = np.empty(0)
    total = 0.0
    for start, end in zip(starts, ends, strict=True):
        if new_group[start]:
            ordered, total = np.empty(0), 0.0
        incoming = np.sort(price[start:end])
        ordered = np.insert(ordered, np.searchsorted(ordered, incoming), incoming)
        total += float(incoming.sum())
        sales.append(ordered.size)
        quartiles.append([sorted_quantile(ordered, level) for level in QUARTILES])
        means.append(total / ordered.size)
    return History(
        group=group[starts],
        as_of_day=sold_day[starts] + 1,
        sales=np.array(sales, dtype=np.int64),
        quartiles=np.array(quartiles, dtype=np.float64).reshape(-1, 3),
        mean=np.array(means, dtype=np.float64),
    )
