"""Files and folders that a reader finds whole or not at all, and the leftovers of killed processes."""

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

OWNED = re.compile(r"\.(?P<pid>\d+)-(?P<started>\d+)\.[0-9a-f]{8}\.tmp(\.wal)?$")


def temporary_name(name: str) -> str:
    """A hidden name for a file that is not whole yet; it names the process that writes it (see `abandoned`)."""
    return f".{name}.{os.getpid()}-{process_start(os.getpid())}.{uuid.uuid4().hex[:8]}.tmp"


def process_start(pid: int) -> int | None:
    """When the process started, on a clock that cannot be set; None if there is no such process.

    A process number alone is not enough: the system uses it again.
    """
    try:
        if (status := Path(f"/proc/{pid}/stat")).exists():
            return int(status.read_text().rpartition(")")[2].split()[19])  # ticks since boot, proc(5)
        return round(psutil.Process(pid).create_time() * 100)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def abandoned(paths: Iterable[Path]) -> list[Path]:
    """The paths with a `temporary_name` whose process on this machine has ended: nobody will finish them."""
    owned = [(path, match) for path in paths if (match := OWNED.search(path.name))]
    return [path for path, match in owned if process_start(int(match["pid"])) != int(match["started"])]


def untouched(folders: Iterable[Path], days: float) -> list[Path]:
    """The folders in which nothing has been written for this many days."""
    before = time.time() - days * 86400
    return [folder for folder in folders if last_written(folder) < before]


def last_written(folder: Path) -> float:
    """When anything in a folder was last written, in seconds since 1970; now, if the folder is being removed."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()


@contextmanager
def whole_file(target: Path, within: Path | None = None) -> Iterator[Path]:
    """A temporary path that becomes `target` when the block ends without an error.

    Args:
        target: the final path.
        within: folder of the temporary path, on the same file system; the target's folder by default.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = (within or target.parent) / temporary_name(target.name)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(within: Path, name: str) -> Iterator[Path]:
    """A folder that is removed when the block ends."""
    folder = within / temporary_name(name)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
