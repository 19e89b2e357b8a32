"""Artefacts on disk: immutable folders, named by the id of what determines them."""

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ID_LENGTH = 16
CARD = "card.json"


def identity(*parts: Any) -> str:
    """A short id that is equal exactly when the parts are: 16 hexadecimal digits of SHA-256 over their JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


OWNED = re.compile(r"\.(?P<pid>\d+)-(?P<started>\d+)\.[0-9a-f]{8}\.tmp(\.wal)?$")


def temporary_name(name: str) -> str:
    """A hidden name for what is not whole yet; it says which process is making it (see `left_behind`)."""
    return f".{name}.{os.getpid()}-{started(os.getpid())}.{uuid.uuid4().hex[:8]}.tmp"


def started(pid: int) -> int | None:
    """When the process started, on a clock that nobody sets; None where there is none. Numbers alone come again."""
    try:
        if (about := Path(f"/proc/{pid}/stat")).exists():
            return int(about.read_text().rpartition(")")[2].split()[19])  # ticks since boot, proc(5)
        return round(psutil.Process(pid).create_time() * 100)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None


def left_behind(paths: Iterable[Path]) -> list[Path]:
    """Those that have a `temporary_name` of a process of this machine that is gone: nobody will finish them."""
    named = [(path, match) for path in paths if (match := OWNED.search(path.name))]
    return [path for path, match in named if started(int(match["pid"])) != int(match["started"])]


def untouched(folders: Iterable[Path], days: float) -> list[Path]:
    """Those in which nothing has been written for so many days."""
    before = time.time() - days * 86400
    return [folder for folder in folders if last_written(folder) < before]


def last_written(folder: Path) -> float:
    """When something in a folder was last written, in seconds since 1970; now, if it is just being removed."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()


def resume_folder(root: Path, artefact_id: str) -> Path:
    """Where an artefact that is being made keeps its checkpoints; gone once it is made."""
    return root / f".{artefact_id}.resume"


@contextmanager
def whole_file(target: Path, within: Path | None = None) -> Iterator[Path]:
    """A temporary path that becomes `target` when the block ends well: readers find all or nothing.

    Args:
        target: the file to be.
        within: folder of the temporary path, on the same file system; by default the target's.
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
    """A folder for the time of the block."""
    folder = within / temporary_name(name)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def artefact(root: Path, artefact_id: str, make: Callable[[Path], dict]) -> Path:
    """The folder `root/artefact_id`, made by `make(folder)` where it is not there yet.

    `make` fills an empty temporary folder and returns the card; the folder gets its name by one rename, so that
    a reader finds all of it or nothing, and a kill leaves only a temporary folder that nobody reads.
    """
    final = root / artefact_id
    if (final / CARD).exists():
        shutil.rmtree(resume_folder(root, artefact_id), ignore_errors=True)  # of a run killed just after the rename
        return final
    with temporary_folder(root, artefact_id) as temporary:
        card = make(temporary)
        (temporary / CARD).write_text(json.dumps(card, indent=2, sort_keys=True, default=str))
        try:
            temporary.replace(final)
        except OSError:
            if not (final / CARD).exists():  # not another run that made the same artefact first
                raise
    shutil.rmtree(resume_folder(root, artefact_id), ignore_errors=True)
    return final


def card(folder: Path | str) -> dict:
    """What `make` said of the artefact in this folder."""
    return json.loads((Path(folder) / CARD).read_text())
