"""Landing: validating and writing rows whose photos are known, and verifying photos.

    python benchmarks/landing.py [--rows 20000] [--full]

Rows: `vps land`'s own code on a Parquet and a CSV file whose rows name a few photos, so that reading, checking and
writing rows is what costs; memory on a file and on one five times as long. Photos: as many threads as there are cores
against one.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
from measure import interleaved, peak_mib, report, tell, tell_seconds, wall_seconds
from PIL import Image

from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.photos import check_photos

PHOTOS = 20


def draw_photos(folder: Path, count: int, side: int) -> list[str]:
    """JPEG photos of noise laid over a gradient, about as large as phones' thumbnails."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    gradient = np.linspace(0, 180, side)[:, None, None] + np.zeros((side, side, 3))
    for i in range(count):
        pixels = (gradient + rng.integers(0, 60, gradient.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=85)
    return [f"{i}.jpg" for i in range(count)]


def listings(rows: int) -> pl.DataFrame:
    """Sold and open listings with all columns of the contract, one in fifty bad."""
    rng = np.random.default_rng(0)
    listed = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in rng.integers(0, 120_000, rows)]
    sold = rng.random(rows) < 0.7
    price = np.where(rng.random(rows) < 0.02, -1.0, np.round(rng.lognormal(3.5, 1, rows), 2))
    return pl.DataFrame(
        {
            "listing_id": [f"L{i}" for i in range(rows)],
            "listed_at": listed,
            "category": rng.choice(["phone", "shoes", "coat", "lamp"], rows),
            "image_path": [f"{i % PHOTOS}.jpg" for i in range(rows)],
            "price": price,
            "sold_at": [d + timedelta(days=1) if s else None for d, s in zip(listed, sold, strict=True)],
            "sold_price": [p if s else None for p, s in zip(np.abs(price), sold, strict=True)],
            "currency": ["EUR"] * rows,
            "seller_id": [f"S{i}" for i in rng.integers(0, rows // 20, rows)],
            "brand": rng.choice(["Acme", "Bolt", "Core"], rows),
            "attributes": [["white", "cotton"]] * rows,
            "specifications": [["XL"]] * rows,
        }
    )


def listing_files(folder: Path, rows: int) -> dict[str, Path]:
    draw_photos(folder, PHOTOS, 200)
    made = listings(rows)
    paths = {"Parquet": folder / f"{rows}.parquet", "CSV": folder / f"{rows}.csv"}
    made.write_parquet(paths["Parquet"])
    joined = [pl.col(name).list.join("|") for name in ("attributes", "specifications")]
    stamps = [pl.col(name).dt.to_string("iso:strict") for name in ("listed_at", "sold_at")]
    made.with_columns(*joined, *stamps).write_csv(paths["CSV"])
    return paths


def silent(message: str) -> None:
    """No progress."""


def landed(path: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        land([path], None, Home(Path(home)), silent)


def verified(paths: list[str], folder: Path, threads: int) -> None:
    with tempfile.TemporaryDirectory() as home, patch("os.cpu_count", return_value=threads):
        check_photos(paths, folder, Home(Path(home)), silent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--full", action="store_true", help="100,000 rows")
    arguments = parser.parse_args()
    rows = 100_000 if arguments.full else arguments.rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, longer = listing_files(folder, rows), listing_files(folder, 5 * rows)
        ways = {kind: partial(landed, path) for kind, path in paths.items()}
        spent = interleaved(ways, 3, wall_seconds)
        for kind, seconds in spent.items():
            tell(f"  {rows:,} rows of {kind:8} {seconds:6.2f} s, {rows / seconds:,.0f} rows a second")
        peaks = {kind: (peak_mib(landed, paths[kind]), peak_mib(landed, longer[kind])) for kind in paths}
        for kind, (once, five) in peaks.items():
            tell(f"  peak memory, {kind:8} {once:.0f} MiB, on five times the rows {five:.0f} MiB")
        photos = draw_photos(folder / "large", 120, 1200)
        threads = {f"{n} threads": partial(verified, photos, folder / "large", n) for n in (1, 2)}
        verifying = interleaved(threads, 3, wall_seconds)
        tell(f"verifying {len(photos)} photos of 1,200 px")
        tell_seconds(verifying, "2 threads", "wall")
    report(
        rows=rows,
        rows_per_s={kind: rows / seconds for kind, seconds in spent.items()},
        landing_rows_per_s=rows / max(spent.values()),
        peak_mib=peaks,
        peak_growth=max(five / once for once, five in peaks.values()),
        photos_per_s=len(photos) / verifying["2 threads"],
        verify_speedup_of_two_threads=verifying["1 threads"] / verifying["2 threads"],
    )


if __name__ == "__main__":
    main()
