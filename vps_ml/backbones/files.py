"""Embeddings on disk: one immutable safetensors file per listing date, a half-precision matrix per task.

The header has each matrix's checksum. A matrix that is not as it was written is not read: its file is set aside, and
the next run embeds the date again. Files of version 0.1 have no checksums.

Files are mapped, not copied: what a reader takes no rows of costs its checksum alone, at the rate of memory, and once
in a process.

A file knows what its rows were made from. When a date's listings change, as with each sale that is out of bounds, the
rows that an earlier file of the date has are taken from there (`taken_over`).
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from xxhash import xxh3_128_hexdigest

from vps_ml.atomic import whole_file
from vps_ml.stores import DamagedArtefact

QUALITY = "photo_quality"
DAY_LETTERS = len("2026-01-01")
XXH3 = ".xxh3"
"""After an array's name, in the header: its checksum. Older code finds none: it has SHA-256 under the name alone."""
MADE_FROM = "made_from"
"""Name of the array of what rows were made from: the 32 bytes of a SHA-256 each."""
CHECKED: set[tuple[str | int, ...]] = set()
"""The arrays that this process has held to their checksums: of which file (path, number, size, time of writing), and
their names. Nobody writes to such a file; what a disk damages later the next process sees, each run being one."""
RowOf = Mapping[str, int]
"""SHA-256 of what a row was made from -> its number."""


def save_embeddings(
    path: Path,
    features: dict[str, Float16[np.ndarray, "..."]],
    quality: Float[np.ndarray, "photo 4"],
    photo_hashes: Sequence[str] = (),
) -> None:
    """Write a date's file, whole or not at all."""
    save_arrays(path, {**features, QUALITY: quality}, photo_hashes)


def save_arrays(path: Path, arrays: dict[str, np.ndarray], made_from: Sequence[str] = ()) -> None:
    """Write a date's arrays with their checksums, whole or not at all.

    Args:
        path: of the file.
        arrays: what rows were made to.
        made_from: SHA-256 of what each row was made from; none: no later file takes rows from this one.
    """
    if made_from:
        hashes = np.frombuffer(bytes.fromhex("".join(made_from)), dtype=np.uint8)
        arrays = {**arrays, MADE_FROM: hashes.reshape(len(made_from), -1)}
    with whole_file(path) as temporary:
        save_file(arrays, temporary, metadata={f"{name}{XXH3}": digest(array) for name, array in arrays.items()})


def digest(array: np.ndarray) -> str:
    """XXH3 (128 bits) of an array's values, in row order: against faults of a disk, not against a forger."""
    return xxh3_128_hexdigest(np.ascontiguousarray(array).data)


def as_written(name: str, array: np.ndarray, header: Mapping[str, str]) -> bool:
    """Whether an array is what its file's header says; of those of before, by SHA-256."""
    if name in header:
        return hashlib.sha256(array.data).hexdigest() == header[name]
    written = header.get(f"{name}{XXH3}")
    return written is None or digest(array) == written


def tensors(path: Path, names: Sequence[str] | None = None, *, mapped: bool = True) -> dict[str, np.ndarray]:
    """The named matrices of a date's file, all by default, mapped: a write to them does not reach the file.

    What a disk cannot read of a mapping any more, after it was checked, ends the process (SIGBUS). `mapped` imports
    torch: who only looks whether the file is whole has them read instead.

    Raises:
        DamagedArtefact: one is not what was written, or the file is gone.
    """
    try:
        before = file_key(path)
        with safe_open(path, framework="pt" if mapped else "numpy") as file:
            header = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
        found = {name: array.numpy() for name, array in found.items()} if mapped else found
        key = file_key(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise damaged(path) from error
    new = {name: array for name, array in found.items() if key != before or (*key, name) not in CHECKED}
    if not all(as_written(name, array, header) for name, array in new.items()):
        raise damaged(path)
    CHECKED.update((*key, name) for name in new if key == before)
    return found


Read = Callable[[Path, tuple[str, ...] | None], dict[str, np.ndarray]]
"""What reads the named matrices of a date's file."""


def keeping_open() -> Read:
    """`tensors`, whose files stay mapped as long as this reader is there.

    A job that reads the same rows for a dozen matrices opens each date's file once for a set of networks: that takes
    longer than reading a date's few test rows.
    """
    return cache(tensors)


def file_key(path: Path) -> tuple[str | int, ...]:
    """What tells the file from another that stood or will stand in its place."""
    stat = path.stat()
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


def taken_over(path: Path, wanted: Collection[str]) -> list[tuple[dict[str, np.ndarray], RowOf]]:
    """What other files of the date of this one, which is to be written, have of what is wanted: (arrays, their rows).

    Each row is of one file, the newest that has it. Of files of before that do not say what their rows were made from
    nothing is taken, nor of damaged ones.
    """
    left, found = set(wanted), list[tuple[dict[str, np.ndarray], RowOf]]()
    others = [other for other in path.parent.glob(f"{path.name[:DAY_LETTERS]}-*.safetensors") if other != path]
    for other in sorted(others, key=written_at, reverse=True):
        if not left:
            break
        with suppress(DamagedArtefact):
            arrays = tensors(other)
            hashes = [row.tobytes().hex() for row in arrays.pop(MADE_FROM, ())]
            if rows := {made_from: number for number, made_from in enumerate(hashes) if made_from in left}:
                left -= rows.keys()
                found.append((arrays, rows))
    return found


def written_at(path: Path) -> float:
    """When a file was written, in seconds since 1970; 0 if it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def without(wanted: Sequence[str], parts: Sequence[RowOf]) -> list[str]:
    """What is wanted that no part has, each once."""
    there = {made_from for rows in parts for made_from in rows}
    return [one for one in dict.fromkeys(wanted) if one not in there]


def in_order(made_from: Sequence[str], parts: Sequence[RowOf]) -> Int[np.ndarray, " row"]:
    """The numbers of the wanted rows among those of all parts, one part's after the other's, in each part's order.

    Raises:
        KeyError: no part has one of them.
    """
    number_of = {one: number for number, one in enumerate(one for rows in parts for one in rows)}
    return np.array([number_of[one] for one in made_from], dtype=np.int64)


def damaged(path: Path) -> DamagedArtefact:
    """The error about a damaged file, which is set aside."""
    with suppress(OSError):  # it is gone, or this reader has not the right to
        os.utime(path.replace(path.with_name(f".{path.name}.damaged")))  # it is kept for a while from now on
    what = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    return DamagedArtefact(f"{what} is not what was written, and was set aside: `vps run` embeds its date again")


def load_embeddings(
    path: Path, tasks: Sequence[str], rows: Int[np.ndarray, " row"], read: Read = tensors
) -> Float16[np.ndarray, "row feature"]:
    """Rows of the tasks' features, side by side, as they are on disk; without tasks, empty rows."""
    if not tasks:
        return np.empty((len(rows), 0), dtype=np.float16)
    return np.concatenate([matrix[rows] for matrix in read(path, tuple(tasks)).values()], axis=1)


def load_quality(path: Path) -> Float[np.ndarray, "photo 4"]:
    """The photos' measures, in the order of `vps_ml.photos.decoding.QUALITY_COLUMNS`."""
    return tensors(path, [QUALITY])[QUALITY]


def blocks(
    paths: Sequence[Path], rows: Sequence[int], tasks: Sequence[str], read: Read = tensors
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions among the requested rows, their features), file by file."""
    if not paths:
        return
    path_of, row_of = np.asarray([str(path) for path in paths]), np.asarray(rows, dtype=np.int64)
    _, first, file_of = np.unique(path_of, return_index=True, return_inverse=True)
    order = np.argsort(file_of, kind="stable")
    ends = np.cumsum(np.bincount(file_of))
    for path, where in zip(path_of[first], np.split(order, ends[:-1]), strict=True):
        yield where, load_embeddings(Path(str(path)), tasks, row_of[where], read)


def gathered(paths: Sequence[Path], rows: Sequence[int], tasks: Sequence[str]) -> np.ndarray:
    """The requested rows of embedding files, in the order of the request, half precision."""
    out: np.ndarray | None = None
    for where, block in blocks(paths, rows, tasks):
        if out is None:
            out = np.empty((len(paths), block.shape[1]), dtype=np.float16)
        out[where] = block
    return np.empty((0, 0), dtype=np.float16) if out is None else out
