"""Files and folders that a reader finds whole or not at all, and the leftovers of killed processes."""

import fcntl
import hashlib
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vps_ml import durable
from vps_ml.processes import has_ended, here_and_now

OWNED = re.compile(r"\.(?P<process>[0-9a-f]{24}-\d+-\d+)\.[0-9a-f]{8}\.tmp(\.wal)?$")
UNOWNED_FOR_DAYS = 1.0
"""A temporary file of another host, or of an earlier version, is abandoned when nobody has written it for so long."""


def temporary_name(name: str) -> str:
    """A hidden name for a file that is not whole yet; it names the process that writes it (see `abandoned`).

    It is short however long `name` is, which a file system limits to 255 bytes.
    """
    short = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f".{short}.{here_and_now()}.{uuid.uuid4().hex[:8]}.tmp"


def abandoned(paths: Iterable[Path], processes: Path | None = None) -> list[Path]:
    """The paths with a `temporary_name` that nobody will finish: their process has ended.

    Where that cannot be seen (another host shares the folder) they are abandoned once they are old. In `processes` the
    processes of other containers hold their locks.
    """
    return [path for path in paths if nobody_writes(path, processes)]


def nobody_writes(path: Path, processes: Path | None) -> bool:
    ended = has_ended(match["process"], processes) if (match := OWNED.search(path.name)) else None
    return bool(untouched([path], UNOWNED_FOR_DAYS)) if ended is None else ended


def untouched(paths: Iterable[Path], days: float) -> list[Path]:
    """The files, and the folders in which nothing has been written, for this many days."""
    before = time.time() - days * 86400
    return [path for path in paths if last_written(path) < before]


def last_written(path: Path) -> float:
    """When a file, or anything in a folder, was last written, in seconds since 1970; now, if it is being removed."""
    try:
        return max(written.stat().st_mtime for written in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path that becomes `target`, on disk, when the block ends without an error."""
    durable.make_folder(target.parent)
    temporary = target.with_name(temporary_name(target.name))
    try:
        yield temporary
        durable.sync(temporary)
        durable.move(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock on a file, which the system frees if the process dies; whether it is held."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def temporary_folder(within: Path, name: str) -> Iterator[Path]:
    """A folder that is removed when the block ends."""
    durable.make_folder(within)
    folder = within / temporary_name(name)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
