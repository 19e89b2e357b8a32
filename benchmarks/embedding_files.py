"""Embeddings on disk: what one date costs as history grows, and the paper's training matrix within this memory.

    python benchmarks/embedding_files.py [--rows 10000] [--full]

A date's file is written, and read back, when 2 and when 20 other dates are there; beside it what a copy held to its
SHA-256 takes, as earlier versions read it. Then a matrix of rows x 8,192 features
is assembled from the files of 90 dates and a few batches are trained on: the table shows what the process holds beside
the mapped file. A million listings need 16.8 GB on disk and, by the rows measured here, no more memory.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import hashlib
import tempfile
from collections.abc import Callable

import numpy as np
import polars as pl
from measure import interleaved, memory_mib, report, tell, wall_seconds
from safetensors.numpy import load_file
from training import joint_rate

from vps_ml.backbones.files import blocks, save_embeddings, tensors
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.features.scaling import FeatureMap, VisualMoments, tabular_moments
from vps_ml.features.tabular import tabular_columns, tabular_matrix

TASKS = ("category", "brand", "attribute", "specification")
WIDTH = 2048
DATES = 90


def write_date(folder: Path, number: int, rows: int) -> Path:
    rng = np.random.default_rng(number)
    drawn = {task: rng.standard_normal((rows, WIDTH), dtype=np.float32).astype(np.float16) for task in TASKS}
    path = folder / f"{number}.safetensors"
    save_embeddings(path, drawn, np.zeros((rows, 4)))
    return path


def copied(path: Path) -> None:
    """Read a date as earlier versions did."""
    for array in load_file(path).values():
        hashlib.sha256(array.data).hexdigest()


def one_date(dates: int, rows: int) -> dict[str, float]:
    """Seconds to write, to read, and to copy a date when this many others exist."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(dates):
            write_date(folder, number, rows)
        features = {task: np.zeros((rows, WIDTH), dtype=np.float16) for task in TASKS}

        new = folder / "new.safetensors"
        ways: dict[str, Callable[[], object]] = {
            "write": lambda: save_embeddings(new, features, np.zeros((rows, 4))),
            "read": lambda: tensors(new),
            "copy": lambda: copied(new),
        }
        return interleaved(ways, 7, wall_seconds)


def assembled(rows: int, scratch: Path) -> dict[str, float]:
    """Assemble and train on a matrix of this many rows; seconds, samples a second, and memory in MiB."""
    per_date = rows // DATES
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        files = [write_date(folder, number, per_date) for number in range(DATES)]
        paths = [path for path in files for _ in range(per_date)]
        row_of = list(range(per_date)) * DATES
        columns, rng = tabular_columns(beyond_paper=False), np.random.default_rng(0)
        table = pl.DataFrame({name: np.exp(rng.normal(size=len(paths))) for name in columns})
        found: dict[str, FeatureMatrix] = {}
        before = memory_mib("RssAnon")

        def assemble() -> None:
            moments = VisualMoments.of(block for _, block in blocks(paths, row_of, TASKS))
            tabular = tabular_moments(tabular_matrix(table, columns))
            fitted = FeatureMap(moments.mean, moments.scale, *tabular, columns)
            found["matrix"] = FeatureMatrix.assembled(fitted, blocks(paths, row_of, TASKS), table, folder)

        seconds = wall_seconds(assemble)
        held = memory_mib("RssAnon") - before
        some = min(len(paths), 3 * 4096)
        anywhere = np.random.default_rng(1).choice(len(paths), some, replace=False)
        rate = joint_rate(found["matrix"], np.arange(some) % 7.0, anywhere)
        return {"assemble_s": seconds, "held_mib": held, "held_in_training_mib": memory_mib("RssAnon") - before,
                "on_disk_mib": len(paths) * WIDTH * len(TASKS) * 2 / 2**20, "samples_per_s": rate}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=9_000)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="7 GB for --full")
    parser.add_argument("--full", action="store_true", help="200,000 rows")
    arguments = parser.parse_args()
    rows = 200_070 if arguments.full else arguments.rows
    few, many = (one_date(dates, 1000) for dates in (2, 20))
    for dates, spent in ((2, few), (20, many)):
        told = ", ".join(f"{way} {seconds * 1e3:.1f} ms" for way, seconds in spent.items())
        tell(f"a date of 1,000 photos beside {dates} others: {told}")
    sizes = {count: assembled(count, arguments.scratch) for count in (rows // 4, rows)}
    for count, size in sizes.items():
        tell(f"{count:,} rows x 8,192 features, {size['on_disk_mib']:,.0f} MiB in half precision")
        tell(f"  assembled in {size['assemble_s']:.1f} s, {size['held_mib']:,.0f} MiB held beside the mapped file")
        tell(f"  training: {size['held_in_training_mib']:,.0f} MiB, {size['samples_per_s']:,.0f} samples/s")
    growth = {way: many[way] / few[way] for way in few}
    report(date_growth=growth, read_over_copy=many["read"] / many["copy"], matrix=sizes)


if __name__ == "__main__":
    main()
