"""Who writes a file that is not whole yet: a process on a machine, told apart from those of other machines.

A process number alone says nothing: the system uses it again, and every container counts from one. So an owner is
named by its machine, by the machine's start and PID namespace, and by the process's number and start. In a container it
also holds a lock in the folder that it shares with others (`be_seen`), which the system frees when it ends.
"""

import fcntl
import hashlib
import os
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

import psutil

SEEN: dict[tuple[Path, str], IO[str]] = {}
"""The locks that this process holds."""
MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


@lru_cache(maxsize=1)
def host() -> str:
    """This machine, its start and this PID namespace, as eight hexadecimal digits each."""
    machine = f"{socket.gethostname()} {first_line(MACHINE_ID)}"
    started = first_line(BOOT_ID) or str(round(psutil.boot_time()))
    namespace = ""
    with suppress(OSError):
        namespace = str(PID_NAMESPACE.readlink())
    return "".join(hashlib.sha256(part.encode()).hexdigest()[:8] for part in (machine, started, namespace))


def first_line(path: Path) -> str:
    """The first line of a small file of the system; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def here_and_now() -> str:
    """This process, for `has_ended`: host, process number, and when it started."""
    return f"{host()}-{os.getpid()}-{process_start(os.getpid())}"


def be_seen(folder: Path) -> None:
    """Hold a lock in a folder until this process ends, so that processes in other containers see that it has not."""
    name = here_and_now()
    if (folder, name) in SEEN:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / f"{name}.lock").open("w")  # noqa: SIM115  (held until the process ends)
    fcntl.flock(file, fcntl.LOCK_EX)
    SEEN[folder, name] = file


def has_ended(process: str, folder: Path | None = None) -> bool | None:
    """Whether a process, as `here_and_now` names it, has ended; None if it is another host's, which cannot be seen.

    Whatever ran before this machine was started has ended. A process in another container of this machine has ended if
    nobody holds its lock in `folder` (see `be_seen`).
    """
    owner, pid, started = process.split("-")
    mine = host()
    if owner == mine:
        return str(process_start(int(pid))) != started
    same_machine, same_start = owner[:8] == mine[:8], owner[8:16] == mine[8:16]
    if same_start and folder is not None:
        return lock_is_free(folder / f"{process}.lock")
    return True if same_machine and not same_start else None


def lock_is_free(path: Path) -> bool | None:
    """Whether nobody holds the lock; None if there is none."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return None


def process_start(pid: int) -> int | None:
    """When the process started, on a clock that cannot be set; None if there is no such process."""
    try:
        if (status := Path(f"/proc/{pid}/stat")).exists():
            return int(status.read_text().rpartition(")")[2].split()[19])  # ticks since boot, proc(5)
        return round(psutil.Process(pid).create_time() * 100)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
