"""The sold items that are most like an item: an exact search through all of a category, in half precision.

No index: a category that has sold a million items is scanned in milliseconds, and nothing is missed. The rows stand by
category, then day of sale, so that what a category had sold before a day is one slice of them.

Axes: M sold item, F feature, K item that is found.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

from vps_ml.artefacts import SOLD_ITEMS, Artefacts
from vps_ml.cards import Contents
from vps_ml.features.tabular import PRICES
from vps_ml.features.unchanged import MADE_FROM, made_from
from vps_ml.pricing.distances import input_scale
from vps_ml.pricing.predictor import Predictor

SHOWN = 5
"""Items that are shown beside a suggestion."""
ITEMS, POINTS, SQUARES, SCALE, HASHES = "items", "points", "squares", "scale", "hashes"
"""Names of the frame and the arrays in the artefact."""
COLUMNS = ("listing_id", "category", "sold_on", "sold_price", "group_key", "photo_hash")
READ_ROWS = 4096
"""Items whose features are worked out at once, and at most so many that their scale is taken from."""
ROUNDS = 2.0**-10
"""Twice the rounding of a half-precision number, as a share of it."""


@dataclass(frozen=True)
class SoldItems:
    """Sold items and their features, as one price model sees them."""

    items: pl.DataFrame
    """`COLUMNS`, by category, day of sale and listing_id."""
    points: Tensor
    """(M F) half precision, scaled so that the distance of two is that of the model's kernel machine."""
    squares: Tensor
    """(M) squared norms, single precision."""
    scale: Float[np.ndarray, " F"]
    """What a feature is multiplied by."""
    hashes: Int[np.ndarray, " M"]
    """Of what each item's row was made from (`vps_ml.features.unchanged.made_from`), as signed numbers."""

    @classmethod
    def of(cls, model: Predictor, sold: pl.DataFrame) -> "SoldItems":
        """Sold items as a model sees them.

        Args:
            model: a price model.
            sold: at least one; `COLUMNS`, log_price instead of sold_price, and what `Predictor.matrix` takes.
        """
        by_file = sold.sort("embedding_path", "listing_id")  # each file of features is read once
        sample = by_file.gather_every(max(1, -(-sold.height // READ_ROWS)))
        scale = input_scale(model.feature_map, model.matrix(sample), PRICES)
        parts = [np.float16(model.matrix(rows) * scale) for rows in by_file.iter_slices(READ_ROWS)]
        hashed = by_file.with_columns(made_from(by_file))
        numbered = hashed.with_row_index("number").sort("category", "sold_on", "listing_id")
        points = torch.from_numpy(np.concatenate(parts)[numbered["number"].to_numpy()])
        items = numbered.with_columns(sold_price=pl.col("log_price").exp().round(6)).select(COLUMNS)
        squares = torch.cat([part.float().square().sum(dim=1) for part in points.split(READ_ROWS)])
        return cls(items, points, squares, scale, numbered[MADE_FROM].to_numpy().view(np.int64))

    def contents(self, model_id: str) -> Contents:
        """The items as an artefact's contents."""
        found = {POINTS: self.points, SQUARES: self.squares}
        arrays = {name: tensor.numpy() for name, tensor in found.items()} | {SCALE: self.scale, HASHES: self.hashes}
        return Contents({"kind": SOLD_ITEMS, "model_id": model_id}, arrays={POINTS: arrays}, mapped={ITEMS: self.items})

    @classmethod
    def load(cls, artefacts: Artefacts, items_id: str) -> "SoldItems":
        """Read sold items; their features and names stay in files, which are mapped.

        Raises:
            DamagedArtefact: a file is not what was written.
            FileNotFoundError: there is no such artefact.
        """
        items = artefacts.models.mapped_frame(items_id, ITEMS)
        with safe_open(artefacts.models.checked(items_id, f"{POINTS}.safetensors"), framework="pt") as file:
            points, squares, scale = (file.get_tensor(name) for name in (POINTS, SQUARES, SCALE))
            # Older code wrote none: then only their number tells whether items have changed.
            hashes = file.get_tensor(HASHES).numpy() if HASHES in file.keys() else np.zeros(len(points), np.int64)  # noqa: SIM118
        return cls(items, points, squares, scale.numpy(), hashes)

    @cached_property
    def categories(self) -> dict[str, tuple[int, int]]:
        """Category -> (number of its first item, number after its last)."""
        ends = self.items.group_by("category", maintain_order=True).len()
        stops = np.cumsum(ends["len"].to_numpy()).tolist()
        return dict(zip(ends["category"], zip([0, *stops[:-1]], stops, strict=True), strict=True))

    @cached_property
    def sold_day(self) -> Int[np.ndarray, " M"]:
        return self.items["sold_on"].cast(pl.Int32).to_numpy()

    @cached_property
    def known_by(self) -> pl.DataFrame:
        """By what an item is told from others: its group, and its photo."""
        return self.items.select("group_key", "photo_hash")

    @cached_property
    def largest(self) -> float:
        """The largest norm of an item."""
        return float(self.squares.max().sqrt())

    def has_photo(self, photo_hash: str) -> bool:
        """Whether one of the items has this photo."""
        return bool((self.items["photo_hash"] == photo_hash).any())

    def sold_before(self, category: str, day: date) -> tuple[int, int]:
        """(first, last + 1) number of the items that the category had sold before a day."""
        start, stop = self.categories.get(category, (0, 0))
        number = (day - date(1970, 1, 1)).days
        return start, start + int(np.searchsorted(self.sold_day[start:stop], number))

    def known_before(self, rows: pl.DataFrame) -> pl.Series:
        """(UInt64) A hash of the items among which each listing's are searched, whatever came later.

        What features are scaled by is not in it: that moves a little with every sale.

        Args:
            rows: with `category` and `listed_on`.
        """
        sums = np.concatenate([[0], np.cumsum(self.hashes)])  # which wraps around
        slices = [self.sold_before(*row) for row in rows.select("category", "listed_on").iter_rows()]
        first, after = np.array(slices, dtype=np.int64).reshape(-1, 2).T
        counted = pl.DataFrame({"items": after - first, "hashes": sums[after] - sums[first]})
        return counted.hash_rows()

    def nearest(self, point: Float[np.ndarray, " F"], start: int, stop: int, count: int) -> Int[np.ndarray, " K"]:
        """The numbers of the nearest items among those of a slice, nearest first; of equal ones the first.

        All are scanned in half precision, whose products are rounded; those that rounding might have let by are
        measured again in single precision.

        Args:
            point: price features.
            start: number of the slice's first item.
            stop: number after its last.
            count: how many; fewer if the slice has fewer.
        """
        if start >= stop:
            return np.empty(0, dtype=np.int64)
        half = torch.from_numpy(np.float16(point * self.scale))
        near = self.squares[start:stop] - 2 * torch.mv(self.points[start:stop], half).float()
        # Less the point's own square, which is the same for all.
        margin = 4 * ROUNDS * float(half.float().norm()) * self.largest
        within = torch.topk(near, min(count, stop - start), largest=False).values[-1] + margin
        candidates = torch.nonzero(near <= within).flatten() + start
        apart = (self.points[candidates].float() - half.float()).square().sum(dim=1)
        order = torch.sort(apart, stable=True).indices[:count]
        return candidates[order].numpy()

    def similar(
        self, point: Float[np.ndarray, " F"], category: str, before: date, group: str | None, photos: Collection[str]
    ) -> Int[np.ndarray, " K"]:
        """What is shown beside a suggestion: numbers of the nearest of the category that had sold, one of each group.

        Args:
            point: price features of the item.
            category: its category.
            before: its listing day.
            group: its own, of which nothing is shown; None: it has none.
            photos: hashes of its photo; nothing that has it is shown either.
        """
        start, stop = self.sold_before(category, before)
        count = 2 * SHOWN
        while True:
            numbers = self.nearest(point, start, stop, count)
            kept: dict[str, int] = {}
            for number, (item, photo) in zip(numbers, self.known_by[numbers].iter_rows(), strict=True):
                if item != group and photo not in photos:
                    kept.setdefault(item, number)
            if len(kept) >= SHOWN or count >= stop - start:
                return np.array(list(kept.values())[:SHOWN], dtype=np.int64)
            count *= 4
