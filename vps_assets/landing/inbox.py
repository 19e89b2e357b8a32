"""`$VPS_HOME/inbox/`: what is dropped there is landed or refused, and then lies in `landed/` or `refused/`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vps_assets.home import Home
from vps_assets.landing.files import RefusedFile
from vps_assets.landing.land import Landing, land
from vps_assets.orchestration.decisions import pause_s
from vps_ml.artefacts import identity

PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}
UNFINISHED = {".tmp", ".part", ".partial", ".crdownload", ".filepart"}
"""How programs that copy files name those that are not whole yet."""


@dataclass(frozen=True)
class Dropped:
    """A file in the inbox."""

    name: str
    size: int
    modified_ns: int


def dropped(inbox: Path) -> list[Dropped]:
    """The files that are neither photos nor on their way, oldest first: of two rows of a listing the later counts."""
    found = []
    for path in inbox.iterdir() if inbox.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() in PHOTOS | UNFINISHED:
            continue
        if path.is_symlink() or path.is_file():
            about = path.lstat()
            found.append(Dropped(path.name, about.st_size, about.st_mtime_ns))
    return sorted(found, key=lambda file: (file.modified_ns, file.name))


@dataclass(frozen=True)
class Intake:
    """What a tick of `inbox_sensor` comes to."""

    cursor: str
    files: tuple[str, ...]
    """To land in one run, in this order; none where there is nothing to do."""
    run_key: str
    said: str


def decide(cursor: str | None, files: Sequence[Dropped], under_way: int, now: float) -> Intake:
    """Ask for the files that have not changed since the last tick, in one run; for one that stayed, again later.

    A file leaves the inbox when it has landed or was refused. One that is still there after its run was broken off
    (killed, disk full): it is asked for again after a minute, two, four, and so on up to six hours.

    Args:
        cursor: JSON; `seen` and `asked` by name, and the number of requests so far, so that no run key is used twice.
        files: what is there.
        under_way: unfinished runs that land files.
        now: seconds since 1970.
    """
    known: dict = json.loads(cursor) if cursor else {"seen": {}, "asked": {}, "number": 0}
    here = {file.name: [file.size, file.modified_ns] for file in files}
    asked = {name: value for name, value in known["asked"].items() if here.get(name) == value["file"]}
    due, waiting = [], 0
    for name, about in here.items():
        before = asked.get(name)
        pause = pause_s(before["attempts"]) if before else 0.0
        if known["seen"].get(name) == about and not under_way and (not before or now >= before["at"] + pause):
            due.append(name)
            asked[name] = {"file": about, "attempts": before["attempts"] + 1 if before else 1, "at": now}
        else:
            waiting += 1
    due.sort(key=lambda name: asked[name]["attempts"])  # one that breaks its run must not hold up the others
    number = known["number"] + bool(due)
    said = f"{len(due)} files to land, {waiting} wait" if here else "nothing in the inbox"
    run_key = f"{identity([(name, here[name]) for name in due])}-{number}"
    return Intake(json.dumps({"seen": here, "asked": asked, "number": number}), tuple(due), run_key, said)


@dataclass(frozen=True)
class TakenIn:
    """What became of files of the inbox."""

    landed: dict[str, Landing]
    refused: dict[str, str]
    """Name -> why."""
    failed: dict[str, str]
    """Name -> what went wrong; these stay in the inbox, and are tried again."""


def take_in(names: Sequence[str], home: Home, progress: Callable[[str], None]) -> TakenIn:
    """Land these files of the inbox, each by itself, and put them away; photos stay where they are.

    A file that is not there any more was handled by another run. What goes wrong with one file (a full disk, a fault
    of a reader) does not keep the others.
    """
    taken = TakenIn({}, {}, {})
    for name in names:
        path = home.inbox / name
        if not path.is_symlink() and not path.exists():
            continue
        try:
            if path.is_symlink():
                raise RefusedFile(f"{name}: a link; copy the file itself into the inbox")
            seen = about(path)
            (landed,) = land([path], None, home, progress)
            if about(path) != seen:  # another came under its name meanwhile: it is the next tick's
                taken.failed[name] = "it was replaced while it was landed; what is there now is landed next"
                continue
            taken.landed[name] = landed
            path.rename(free_name(home.inbox / "landed", name))
        except RefusedFile as error:
            taken.refused[name] = str(error)
            target = free_name(home.inbox / "refused", name)
            target.with_name(f"{target.name}.reason.txt").write_text(f"{error}\n")
            path.rename(target)
        except Exception as error:
            taken.failed[name] = " ".join(str(error).split()) or type(error).__name__
    return taken


def about(path: Path) -> tuple[int, int, int]:
    """What is different of another file under the same name."""
    stat = path.lstat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def free_name(folder: Path, name: str) -> Path:
    """A path in the folder, under this name or one like it that is free."""
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = folder / f"{Path(name).stem}.{number}{Path(name).suffix}"
    return target
