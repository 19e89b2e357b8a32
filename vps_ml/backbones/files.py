"""Embeddings on disk: one immutable safetensors file per listing date, a half-precision matrix per task."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16
from safetensors import safe_open
from safetensors.numpy import save_file

from vps_ml.atomic import whole_file

QUALITY = "photo_quality"


def save_embeddings(
    path: Path, features: dict[str, Float16[np.ndarray, "..."]], quality: Float[np.ndarray, "photo 4"]
) -> None:
    """Write a date's file, whole or not at all."""
    with whole_file(path) as temporary:
        save_file({**features, QUALITY: quality}, temporary)


def load_embeddings(path: Path, tasks: Sequence[str]) -> Float16[np.ndarray, "photo feature"]:
    """The tasks' features side by side, as they are on disk; without tasks, one empty row per photo."""
    with safe_open(path, framework="numpy") as file:
        if not tasks:
            return np.empty((len(file.get_tensor(QUALITY)), 0), dtype=np.float16)
        return np.concatenate([file.get_tensor(task) for task in tasks], axis=1)


def load_quality(path: Path) -> Float[np.ndarray, "photo 4"]:
    """The photos' measures, in the order of `vps_ml.photos.decoding.QUALITY_COLUMNS`."""
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(QUALITY)


def blocks(paths: Sequence[Path], rows: Sequence[int], tasks: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions among the requested rows, their features), file by file: each is read once, one is held at a time."""
    path_of, row_of = np.asarray([str(path) for path in paths]), np.asarray(rows)
    _, first, file_of = np.unique(path_of, return_index=True, return_inverse=True)
    order = np.argsort(file_of, kind="stable")
    ends = np.cumsum(np.bincount(file_of))
    for path, where in zip(path_of[first], np.split(order, ends[:-1]), strict=True):
        yield where, load_embeddings(Path(str(path)), tasks)[row_of[where]]


def gathered(paths: Sequence[Path], rows: Sequence[int], tasks: Sequence[str]) -> np.ndarray:
    """The requested rows of embedding files, in the order of the request, half precision."""
    out: np.ndarray | None = None
    for where, block in blocks(paths, rows, tasks):
        if out is None:
            out = np.empty((len(paths), block.shape[1]), dtype=np.float16)
        out[where] = block
    return np.empty((0, 0), dtype=np.float16) if out is None else out
