"""Hosts on one machine: namespaces of processes, of a name and of the folder `VPS_HOME`, over shared servers."""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from conftest import REPOSITORY

BIN = Path(sys.executable).parent
VPS = [sys.executable, "-c", "from vps_assets.cli import main; main()"]


@dataclass
class Service:
    """A command that is started again whenever it has ended."""

    host: "Host"
    command: list[str]
    log: Path
    process: subprocess.Popen | None = None
    ended: list[int] = field(default_factory=list)

    def keep(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            self.ended.append(self.process.returncode)
        self.process = self.host.start(self.command, self.log)


@dataclass
class Host:
    """A host that can be killed with all that runs on it; its disk stays."""

    name: str
    home: Path
    """Where every host has its own data directory."""
    disk: Path
    environment: dict[str, str]
    init: psutil.Process | None = None

    def boot(self) -> None:
        self.disk.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        script = f"hostname {self.name} && mount --bind {self.disk} {self.home} && echo up && exec sleep 100000"
        line = ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "--uts", "sh", "-c", script]
        unshare = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert unshare.stdout is not None and unshare.stdout.readline() == "up\n"
        (self.init,) = psutil.Process(unshare.pid).children()

    def start(self, command: list[str], log: Path) -> subprocess.Popen:
        assert self.init is not None
        inside = ["nsenter", "--target", str(self.init.pid), "--mount", "--uts", "--pid", "--", *command]
        with log.open("a") as file:
            return subprocess.Popen(inside, env=self.environment, cwd=REPOSITORY, stdout=file, stderr=file)

    def succeed(self, command: list[str], log: Path) -> None:
        assert self.start(command, log).wait() == 0, log.read_text()[-3000:]

    def kill(self) -> None:
        """The first process of the namespace: the others go with it."""
        assert self.init is not None
        with suppress(psutil.NoSuchProcess):
            self.init.kill()
            self.init.wait(timeout=30)

    def running(self, *words: str) -> list[psutil.Process]:
        """The host's processes whose command line has one of these."""
        assert self.init is not None
        own = namespace(self.init.pid)
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if any(word in line for word in words) and namespace(process.pid) == own:
                found.append(process)
        return found


def namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115
    except OSError:
        return ""
