"""Point-in-time statistics of sold prices: computed exactly, and joined to listings."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from vps_ml.features.tabular import HISTORIES, LABEL, LABEL_HISTORY, LOG_RATIO, MOMENTS, RATIO, SAID_LABELS

QUARTILES = np.array([0.25, 0.5, 0.75])


@dataclass(frozen=True)
class History:
    """One row per group and day from which its history is different; sorted by day, then group."""

    group: Int[np.ndarray, " row"]
    as_of_day: Int[np.ndarray, " row"]
    """The row is of the sales before this day, and in force from it until the group's next row."""
    sales: Int[np.ndarray, " row"]
    quartiles: Float[np.ndarray, "row 3"]
    """First quartile, median and third quartile by linear interpolation (numpy's and DuckDB's default)."""
    mean: Float[np.ndarray, " row"]


def price_history(
    price: Float[np.ndarray, " entry"],
    sold_day: Int[np.ndarray, " entry"],
    group: Int[np.ndarray, " entry"],
    sales: Int[np.ndarray, " entry"] | None = None,
    since: Int[np.ndarray, " group"] | None = None,
) -> History:
    """Quartiles and mean of each group's sold prices, as of the day after each of its days of sale.

    Args:
        price: in the warehouse's currency.
        sold_day: day number of the sale; a sale counts from the following day on.
        group: group number, from 0.
        sales: how many sales an entry stands for; one each if None.
        since: each group's first day of sale to get a row; earlier sales count, but get no row of their own.

    Sales are counts per group and price, which are exact and add up. The days are walked once; each adds its counts
    and reads the order statistics of the groups that it touches off running totals. A row depends on the multiset of
    prices alone, to the last bit: not on the order of the sales, nor on the first day of the walk.
    """
    groups = int(group.max(initial=-1)) + 1
    sales = np.ones(price.size, dtype=np.int64) if sales is None else sales
    since = np.full(groups, np.iinfo(np.int64).min) if since is None else since
    cells = PriceCells.of(price, group, groups)
    order = stable_order(sold_day - sold_day.min(initial=0))
    day, cell, group, sales = sold_day[order], cells.of_entry[order], group[order], sales[order]
    price = price[order]
    starts = np.flatnonzero(np.diff(day, prepend=day[:1] - 1))
    counts = np.zeros(cells.price.size, dtype=np.int64)
    sold, total = np.zeros(groups, dtype=np.int64), np.zeros((3, groups), dtype=np.int64)
    rows = []
    for start, end in pairwise(np.append(starts, day.size)):
        of_day = slice(start, end)
        np.add.at(counts, cell[of_day], sales[of_day])
        np.add.at(sold, group[of_day], sales[of_day])
        for part, added in zip(total, exact_parts(price[of_day]) * sales[of_day], strict=True):
            np.add.at(part, group[of_day], added)
        touched = np.flatnonzero(np.bincount(group[of_day], minlength=groups))
        touched = touched[since[touched] <= day[start]]
        if touched.size:
            quartiles = cells.quantiles(counts, touched, sold[touched])
            mean = joined_parts(total[:, touched]) / sold[touched]
            rows.append((touched, np.full(touched.size, day[start] + 1), sold[touched], quartiles, mean))
    if not rows:
        none = np.empty(0, dtype=np.int64)
        return History(none, none, none, np.empty((0, 3)), np.empty(0))
    return History(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))


def stable_order(keys: Int[np.ndarray, " entry"]) -> Int[np.ndarray, " entry"]:
    """A stable argsort of numbers from 0 up, by radix if they fit in 16 bits."""
    return np.argsort(keys.astype(np.min_scalar_type(int(keys.max(initial=0)))), kind="stable")


LIMB = 2.0**32


def exact_parts(price: Float[np.ndarray, " entry"]) -> Int[np.ndarray, "3 entry"]:
    """A price as three integers, of 1, 2^-32 and 2^-64, whose sums are exact and so the same in any order."""
    whole = np.floor(price)
    upper = np.floor((price - whole) * LIMB)
    lower = np.floor(((price - whole) * LIMB - upper) * LIMB)
    return np.stack([whole, upper, lower]).astype(np.int64)


def joined_parts(parts: Int[np.ndarray, "3 group"]) -> Float[np.ndarray, " group"]:
    """The sums of `exact_parts` as one number each."""
    whole, upper, lower = parts
    return whole + (upper + lower / LIMB) / LIMB


@dataclass(frozen=True)
class PriceCells:
    """The pairs of group and price that occur, ascending by group, then price."""

    price: Float[np.ndarray, " cell"]
    of_entry: Int[np.ndarray, " entry"]
    """Each entry's cell."""
    first: Int[np.ndarray, " group"]
    """Each group's first cell."""
    cells: Int[np.ndarray, " group"]
    """How many a group has."""

    @classmethod
    def of(cls, price: Float[np.ndarray, " entry"], group: Int[np.ndarray, " entry"], groups: int) -> "PriceCells":
        order = np.argsort(price)
        order = order[stable_order(group[order])]
        price, group = price[order], group[order]
        new = (np.diff(price, prepend=np.nan) != 0) | (np.diff(group, prepend=-1) != 0)
        of_entry = np.empty(order.size, dtype=np.int64)
        of_entry[order] = np.cumsum(new) - 1
        cells = np.bincount(group[new], minlength=groups)
        return cls(price[new], of_entry, np.cumsum(cells) - cells, cells)

    def quantiles(
        self, counts: Int[np.ndarray, " cell"], touched: Int[np.ndarray, " group"], sales: Int[np.ndarray, " group"]
    ) -> Float[np.ndarray, "group 3"]:
        """The quartiles of the touched groups; each has `sales` sales, at least one."""
        lengths = self.cells[touched]
        ends = np.cumsum(lengths)
        starts, price = self.first[touched], self.price
        if 4 * ends[-1] < counts.size:  # few cells are of these groups: leave the others alone
            own = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
            starts, price, counts = ends - lengths, price[own], counts[own]
        running = np.cumsum(counts)
        before = (running[starts] - counts[starts])[:, None]
        position = (sales[:, None] - 1) * QUARTILES
        below = position.astype(np.int64)
        ranks = np.stack([below, np.minimum(below + 1, sales[:, None] - 1)], axis=2)
        low, high = np.moveaxis(price[np.searchsorted(running, before[:, None] + ranks, "right")], 2, 0)
        return low + (position - below) * (high - low)


def with_statistics(listings: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Each listing's statistics as of its own listing date, as columns `<history>_<moment>` and `<history>_sales`.

    `seller_history` is `seller_sales` again, for models that count it to a bound alone. `<history>_<moment>_ratio` is
    the moment over that of the next wider history: a category's over the marketplace's, a seller's over its category's.

    A row of a table is computed over `sold_on < as_of` and in force from `as_of`, so the newest row with
    `as_of <= listed_on` sees no sale of that day or later, and never the listing's own. A group without history falls
    back to the next wider one; its count stays zero.

    What the labels cost more than the marketplace: see `with_label_ratios`.

    Args:
        listings: with `listed_on`, `category`, `seller_id` and the columns `SAID_LABELS`.
        tables: history, and `LABEL_HISTORY` -> rows with `as_of`, the history's group, its moments and `sales`.
    """
    joined = listings.with_row_index("_order").sort("listed_on")
    for history, key in HISTORIES.items():
        named = {moment: f"{history}_{moment}" for moment in (*MOMENTS, "sales")}
        right = tables[history].rename(named).sort("as_of")
        joined = joined.join_asof(
            right, left_on="listed_on", right_on="as_of", by=key, strategy="backward", check_sortedness=False
        ).drop("as_of")
    for wider, history in pairwise(HISTORIES):
        filled = [pl.coalesce(f"{history}_{m}", f"{wider}_{m}").alias(f"{history}_{m}") for m in MOMENTS]
        joined = joined.with_columns(filled)
    counts = [pl.col(f"{history}_sales").fill_null(0) for history in HISTORIES]
    ratios = [
        (pl.col(f"{history}_{m}") / pl.col(f"{wider}_{m}")).alias(f"{history}_{m}{RATIO}")
        for wider, history in pairwise(HISTORIES)
        for m in MOMENTS
    ]
    joined = joined.with_columns(*counts, *ratios).with_columns(seller_history=pl.col("seller_sales"))
    return with_label_ratios(joined, tables[LABEL_HISTORY]).sort("_order").drop("_order")


COUNTS_AS = 10.0
"""Sales at which a label's own median counts as much as that it costs what everything does."""


def with_label_ratios(listings: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """How much more than the marketplace an item's labels cost, as of its listing date: columns `<kind>_log_ratio`.

    The mean over the item's labels of a kind of ln(median of the label / median of the marketplace), pulled to 0 where
    few items of the label have sold; null where it has no label, or none that has sold before.

    Args:
        listings: with `_order`, `listed_on`, `marketplace_median` and the columns `SAID_LABELS`.
        table: rows with `as_of`, `label`, `median` and `sales`.
    """
    history = table.select("as_of", "label", label_median="median", label_sales="sales").sort("as_of")
    for kind in SAID_LABELS:
        own = pl.col(kind) if listings.schema[kind] == pl.List else pl.concat_list(kind)
        labels = listings.select("_order", "listed_on", "marketplace_median", label=own.list.unique())
        labels = labels.explode("label", empty_as_null=False).drop_nulls("label")
        labels = labels.with_columns(label=pl.lit(f"{kind}{LABEL}") + pl.col("label")).sort("listed_on")
        told = labels.join_asof(
            history, left_on="listed_on", right_on="as_of", by="label", strategy="backward", check_sortedness=False
        )
        weight = pl.col("label_sales") / (pl.col("label_sales") + COUNTS_AS)
        ratio = weight * (pl.col("label_median") / pl.col("marketplace_median")).log()
        means = told.group_by("_order").agg(ratio.mean().alias(f"{kind}{LOG_RATIO}"))
        listings = listings.join(means, on="_order", how="left", maintain_order="left")
    return listings
