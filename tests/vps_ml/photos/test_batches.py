"""Many photos, decoded ahead by threads or processes."""

import os
from pathlib import Path

import numpy as np
import pytest
from scenario import photo

from vps_ml.photos import batches as of_photos
from vps_ml.photos.batches import photo_batches
from vps_ml.photos.decoding import decoded


def test_batches_keep_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{i}.png", seed=i) for i in range(7)]
    batches = list(photo_batches([paths[:3], paths[3:6], paths[6:]], 32))
    assert [len(photos) for photos, _ in batches] == [3, 3, 1]
    alone = np.stack([decoded(path, 32)[0] for path in paths])
    assert np.array_equal(np.concatenate([photos for photos, _ in batches]), alone)


def test_processes_decode_what_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [photo(tmp_path / f"{i}.png", seed=i) for i in range(2 * of_photos.TOGETHER + 3)]
    threads = list(photo_batches([paths[:2], paths[2:]], 32, 2))
    monkeypatch.setattr(of_photos, "MOST_THREADS", 1)
    monkeypatch.setattr(of_photos, "WORTH_PROCESSES", 1)
    with of_photos.decoders(2, 1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    for (photos, quality), (again, also) in zip(threads, photo_batches([paths[:2], paths[2:]], 32, 2), strict=True):
        assert np.array_equal(photos, again) and np.array_equal(quality, also)


def test_no_photos_make_no_batches() -> None:
    assert list(photo_batches([], 32, 3)) == []
