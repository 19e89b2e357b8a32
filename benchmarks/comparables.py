"""Sold items that look similar, found among all of a category: against single precision, which is the truth.

    python benchmarks/comparables.py [--items 100000] [--full]

Drawn features around a few hundred kinds of items, 20 categories, a year of sales. "Category and day": what a twentieth
of the items had sold before a day in October; "all": everything. The naive way holds single precision and sorts all
distances; it is also the truth that recall is held against. Memory: of a fresh process that opens the artefact and
asks once, beside one with a thousand items. `--full`: 1,000,000 items of 128 features.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import tempfile
from datetime import date
from itertools import count

import numpy as np
import polars as pl
import torch
from measure import interleaved, peak_mib, report, tell, tell_seconds, wall_seconds

from vps_ml.artefacts import Artefacts
from vps_ml.pricing.sold_items import SHOWN, SoldItems

FEATURES, CATEGORIES, KINDS, DAYS = 128, 20, 400, 365
FIRST, ASKED_ON = date(2024, 1, 1), date(2024, 10, 1)
QUERIES, COUNT = 50, 2 * SHOWN
ITEMS_ID = "0" * 16


def drawn(size: int) -> SoldItems:
    """Items of some kinds, by category and day."""
    rng = np.random.default_rng(0)
    category = np.sort(rng.integers(0, CATEGORIES, size))
    day = rng.integers(0, DAYS, size)
    order = np.lexsort((day, category))
    kinds = rng.normal(size=(KINDS, FEATURES)).astype(np.float32)
    points = kinds[rng.integers(0, KINDS, size)] + 0.5 * rng.normal(size=(size, FEATURES)).astype(np.float32)
    points = np.float16(points / np.linalg.norm(points, axis=1, keepdims=True))
    items = pl.DataFrame({"number": np.arange(size), "category": category[order], "day": day[order]}).select(
        listing_id=pl.format("L{}", "number"),
        category=pl.format("c{}", "category"),
        sold_on=pl.lit(FIRST) + pl.duration(days="day"),
        sold_price=pl.col("number").cast(pl.Float64) + 1,
        group_key=pl.format("g{}", "number"),
        photo_hash=pl.format("{}", pl.col("number").cast(pl.String).str.zfill(64)),
    )
    half = torch.from_numpy(points)
    norms, scale = half.float().square().sum(dim=1), np.ones(FEATURES, dtype=np.float32)
    return SoldItems(items, half, norms, scale, np.zeros(len(half), dtype=np.int64))


def naive(points: torch.Tensor, point: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The nearest by single precision, all distances sorted."""
    rows = points[start:stop]
    apart = rows.square().sum(dim=1) - 2 * torch.mv(rows, torch.from_numpy(point))
    return start + torch.argsort(apart)[:COUNT].numpy()


def asked_once(folder: str) -> None:
    """What a process does that opens the artefact and asks."""
    items = SoldItems.load(Artefacts(Path(folder)), ITEMS_ID)
    items.similar(np.ones(FEATURES, dtype=np.float32), "c3", ASKED_ON, None, [])
    items.nearest(np.ones(FEATURES, dtype=np.float32), 0, len(items.points), COUNT)


def held_mib(items: SoldItems) -> float:
    """How much more memory that takes, mapped files counted, than the same with a thousand items."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        for place, kept in ((folder, items), (other, drawn(1000))):
            Artefacts(Path(place)).models.make(ITEMS_ID, lambda kept=kept: kept.contents("m"))
        return peak_mib(asked_once, folder) - peak_mib(asked_once, other)


def measured_on(
    items: SoldItems, single: torch.Tensor, points: list[np.ndarray], start: int, stop: int
) -> dict[str, float]:
    """The figures of a slice."""
    turn = count()

    def ours() -> np.ndarray:
        return items.nearest(points[next(turn) % QUERIES], start, stop, COUNT)

    def other() -> np.ndarray:
        return naive(single, points[next(turn) % QUERIES], start, stop)

    pairs = [(items.nearest(point, start, stop, COUNT), naive(single, point, start, stop)) for point in points]
    ways = {"ours": ours, "single precision": other}
    cpu, wall = interleaved(ways, QUERIES), interleaved(ways, QUERIES, wall_seconds)
    tell_seconds(cpu, "ours")
    return {
        "items": stop - start,
        "cpu_ms": 1000 * cpu["ours"],
        "wall_ms": 1000 * wall["ours"],
        "speedup": cpu["single precision"] / cpu["ours"],
        "recall": float(np.mean([len(set(found) & set(truth)) / len(truth) for found, truth in pairs])),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", help="1,000,000 items")
    arguments = parser.parse_args()
    size = 1_000_000 if arguments.full else arguments.items
    items, rng = drawn(size), np.random.default_rng(1)
    single = items.points.float()
    near = single[rng.integers(size, size=QUERIES)].numpy() + 0.05 * rng.normal(size=(QUERIES, FEATURES))
    points = list(np.float16(near).astype(np.float32))
    slices = {"category_and_day": items.sold_before("c3", ASKED_ON), "all": (0, size)}
    figures: dict[str, object] = {"items": size}
    for name, (start, stop) in slices.items():
        tell(f"{name}: {stop - start:,} items")
        measured = measured_on(items, single, points, start, stop)
        figures |= {f"{name}_{figure}": value for figure, value in measured.items()}
    figures["mib"] = held_mib(items)
    tell(f"memory of opening it and asking: {figures['mib']:.0f} MiB")
    report(**figures)


if __name__ == "__main__":
    main()
