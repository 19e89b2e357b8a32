"""Many photos, decoded ahead of what takes them."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vps_ml.photos.decoding import decoded
from vps_ml.photos.quality import QUALITY_COLUMNS

BATCH_PHOTOS = 64
"""Photos per batch where nothing is trained."""
AHEAD_PHOTOS, AHEAD_BATCHES = 512, 4
TOGETHER = 8
"""Photos that a worker is asked for at a time: with one, processes spend their time on messages."""
MOST_THREADS = 4
WORTH_PROCESSES = 2000
"""Photos from which on it is worth starting processes, which takes a second."""
IDLE_S = 60
"""Processes that nobody has asked for so long end; until then the next call has them at once."""


def in_batches(paths: Sequence[Path], photos: int = BATCH_PHOTOS) -> list[Sequence[Path]]:
    """The paths, so many at a time."""
    return [paths[i : i + photos] for i in range(0, len(paths), photos)]


@contextmanager
def decoders(workers: int, photos: int) -> Iterator[Executor]:
    """Threads or, for many photos on many cores, processes: threads wait for each other in what Python itself does.

    On 16 cores 2 threads decoded 600 of the demo's photos a second, 16 threads 490 and 16 processes 2,800.
    """
    if workers <= MOST_THREADS or photos < WORTH_PROCESSES:
        with ThreadPoolExecutor(workers) as threads:
            yield threads
    else:
        from joblib.externals.loky import get_reusable_executor  # 1 s, and only where there are many cores

        yield get_reusable_executor(workers, timeout=IDLE_S)  # unlike the standard library's, they do not import torch


def photo_batches(
    batches: Sequence[Sequence[Path]], photo_px: int, workers: int | None = None
) -> Iterator[tuple[UInt8[np.ndarray, "photo 3 y x"], Float[np.ndarray, "photo 4"]]]:
    """Batches of decoded photos with their measures (`QUALITY_COLUMNS`), in order.

    Each photo is read and decoded once, by workers (as many as there are cores) that stay `AHEAD_PHOTOS`, or
    `AHEAD_BATCHES` if these are more, ahead of the network; memory holds no more than these, however many there are.
    """
    workers = workers or os.cpu_count() or 1
    ahead = max(AHEAD_PHOTOS, AHEAD_BATCHES * max(map(len, batches), default=0))
    with decoders(workers, sum(map(len, batches))) as pool:
        waiting: deque[list[Future]] = deque()
        to_come = iter(batches)
        while True:
            while TOGETHER * sum(map(len, waiting)) < ahead and (batch := next(to_come, None)):
                parts = [batch[i : i + TOGETHER] for i in range(0, len(batch), TOGETHER)]
                waiting.append([pool.submit(decoded_together, part, photo_px) for part in parts])
            if not waiting:
                return
            photos, measures = zip(*(future.result() for future in waiting.popleft()), strict=True)
            yield np.concatenate(photos), np.concatenate(measures)


def decoded_together(
    paths: Sequence[Path], photo_px: int
) -> tuple[UInt8[np.ndarray, "photo 3 y x"], Float[np.ndarray, "photo 4"]]:
    """Some photos, at least one, with their measures: what is asked of a worker at a time."""
    photos, qualities = zip(*(decoded(path, photo_px) for path in paths), strict=True)
    measures = [[getattr(quality, column) for column in QUALITY_COLUMNS] for quality in qualities]
    return np.stack(photos), np.array(measures, dtype=np.float64)
