"""`$VPS_HOME/inbox/`: a file that is dropped there is landed or refused, and moved to `landed/` or `refused/`."""

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vps_assets.errors import one_line, printable
from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import Landing, land
from vps_assets.landing.photos import Progress
from vps_ml import durable
from vps_ml.atomic import whole_file

PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
UNFINISHED = {".tmp", ".part", ".partial", ".crdownload", ".filepart"}
"""Endings that programs give to files that they are still copying."""


MOST_NAME_BYTES = 200
"""Longer names leave no room for what is put behind them: a number, `.reason.txt`."""


@dataclass(frozen=True)
class Dropped:
    """A file in the inbox."""

    name: str
    """As it can be written: see `shown`."""
    size: int
    modified_ns: int


def dropped(inbox: Path) -> list[Dropped]:
    """The files that are neither photos nor still being copied, oldest first: the later of two rows counts."""
    found = []
    for path in waiting(inbox).values():
        status = path.lstat()
        found.append(Dropped(shown(path.name), status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: (file.modified_ns, file.name))


def waiting(inbox: Path) -> dict[str, Path]:
    """The files of `dropped` by name. Nothing but what is in the inbox itself is ever landed or moved."""
    found = {}
    for path in inbox.iterdir() if inbox.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() in PHOTOS | UNFINISHED:
            continue
        if path.is_symlink() or path.is_file():
            found[shown(path.name)] = path
    return found


def shown(name: str) -> str:
    r"""A file's name as text: what is not UTF-8 in it, or does not print, is written as \xNN."""
    return printable(os.fsencode(name).decode(errors="backslashreplace"))


@dataclass(frozen=True)
class TakenIn:
    """The result of taking in files of the inbox."""

    landed: dict[str, Landing]
    refused: dict[str, str]
    """Name -> reason."""
    failed: dict[str, str]
    """Name -> error; these files stay in the inbox and are tried again."""


def take_in(names: Sequence[str], home: Home, progress: Progress, given_up: Collection[str] = ()) -> TakenIn:
    """Land these files of the inbox, each by itself, and move them away; photos stay where they are.

    A file that is gone was handled by another run, and a name with a folder in it names no file of the inbox. An error
    with one file (a full disk, a fault of a reader) does not stop the others.

    Args:
        names: as `dropped` has them.
        home: the data directory.
        progress: takes a line at a time.
        given_up: those that are refused without a look, having broken the runs that were to land them.
    """
    taken = TakenIn({}, {}, {})
    files = waiting(home.inbox)
    for name in names:
        if Path(name).name != name:
            taken.failed[name] = f"{name}: names no file of the inbox"
        if (path := files.get(name)) is None:
            continue
        try:
            refuse_by_name(path, name, given_up)
            before = file_state(path)
            (landed,) = land([path], None, home, progress)
            if file_state(path) != before:  # another file took its name meanwhile: the next tick lands that one
                taken.failed[name] = "it was replaced while it was landed; the new file is landed next"
                continue
            taken.landed[name] = landed
            durable.move(path, free_name(home.inbox / "landed", name))
        except RefusedFile as error:
            taken.refused[name] = one_line(error)
            refuse(path, name, error, home)
        except Exception as error:
            taken.failed[name] = f"{name}: {one_line(error)}"
    return taken


def refuse_by_name(path: Path, name: str, given_up: Collection[str]) -> None:
    """Refuse what is not to be opened.

    Raises:
        RefusedFile: a link, a name that cannot be kept, or a file that was given up.
    """
    if path.is_symlink():
        raise RefusedFile(f"{name}: a link; copy the file itself into the inbox")
    if name != path.name:
        raise RefusedFile(f"{name}: its name is not plain UTF-8; rename it")
    if len(os.fsencode(path.name)) > MOST_NAME_BYTES:
        raise RefusedFile(f"{name}: its name is longer than {MOST_NAME_BYTES} bytes; rename it")
    if name in given_up:
        raise RefusedFile(f"{name}: every run that was to land it broke off; read their logs in the UI, drop it again")


def refuse(path: Path, name: str, reason: RefusedFile, home: Home) -> None:
    """Move a file to `refused/`, with its reason beside it; the reason first, so that no file is there without."""
    target = free_name(home.inbox / "refused", name)
    with whole_file(target.with_name(f"{target.name}.reason.txt")) as temporary:
        temporary.write_text(f"{reason}\n")
    durable.move(path, target)


def file_state(path: Path) -> tuple[int, int, int]:
    """Differs for another file under the same name."""
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def free_name(folder: Path, name: str) -> Path:
    """A free path in the folder, under this name or a numbered one."""
    durable.make_folder(folder)
    if len(name.encode()) > MOST_NAME_BYTES:
        short = name.encode()[: MOST_NAME_BYTES // 2].decode(errors="ignore")
        name = f"{short}.{hashlib.sha256(name.encode()).hexdigest()[:8]}{Path(name).suffix[:16]}"
    target, number = folder / name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
    return target
