"""`$VPS_HOME/inbox/`: a file that is dropped there is landed or refused, and moved to `landed/` or `refused/`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vps_assets.errors import one_line
from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import Landing, Progress, land

PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
UNFINISHED = {".tmp", ".part", ".partial", ".crdownload", ".filepart"}
"""Endings that programs give to files that they are still copying."""


@dataclass(frozen=True)
class Dropped:
    """A file in the inbox."""

    name: str
    size: int
    modified_ns: int


def dropped(inbox: Path) -> list[Dropped]:
    """The files that are neither photos nor still being copied, oldest first: the later of two rows counts."""
    found = []
    for path in inbox.iterdir() if inbox.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() in PHOTOS | UNFINISHED:
            continue
        if path.is_symlink() or path.is_file():
            status = path.lstat()
            found.append(Dropped(path.name, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: (file.modified_ns, file.name))


@dataclass(frozen=True)
class TakenIn:
    """The result of taking in files of the inbox."""

    landed: dict[str, Landing]
    refused: dict[str, str]
    """Name -> reason."""
    failed: dict[str, str]
    """Name -> error; these files stay in the inbox and are tried again."""


def take_in(names: Sequence[str], home: Home, progress: Progress) -> TakenIn:
    """Land these files of the inbox, each by itself, and move them away; photos stay where they are.

    A file that is gone was handled by another run. An error with one file (a full disk, a fault of a reader) does not
    stop the others.
    """
    taken = TakenIn({}, {}, {})
    for name in names:
        path = home.inbox / name
        if not path.is_symlink() and not path.exists():
            continue
        try:
            if path.is_symlink():
                raise RefusedFile(f"{name}: a link; copy the file itself into the inbox")
            before = file_state(path)
            (landed,) = land([path], None, home, progress)
            if file_state(path) != before:  # another file took its name meanwhile: the next tick lands that one
                taken.failed[name] = "it was replaced while it was landed; the new file is landed next"
                continue
            taken.landed[name] = landed
            path.rename(free_name(home.inbox / "landed", name))
        except RefusedFile as error:
            taken.refused[name] = str(error)
            target = free_name(home.inbox / "refused", name)
            target.with_name(f"{target.name}.reason.txt").write_text(f"{error}\n")
            path.rename(target)
        except Exception as error:
            taken.failed[name] = one_line(error)
    return taken


def file_state(path: Path) -> tuple[int, int, int]:
    """Differs for another file under the same name."""
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def free_name(folder: Path, name: str) -> Path:
    """A free path in the folder, under this name or a numbered one."""
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
    return target
