import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vps_assets.home import Home
from vps_assets.sweeping import leftovers, sweep
from vps_ml.atomic import temporary_name, whole_file
from vps_ml.processes import has_ended, here_and_now, host

LEAVE = """
import os, sys
from pathlib import Path
from vps_ml.atomic import temporary_name
for folder in sys.argv[1:]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / temporary_name("x")).mkdir()
    (Path(folder) / temporary_name("y")).write_text("half")
os.kill(os.getpid(), 9)
"""


def aged(path: Path, days: float) -> Path:
    path.mkdir(parents=True)
    (path / "file").touch()
    for each in (path / "file", path):
        os.utime(each, (time.time() - days * 86400,) * 2)
    return path


def test_what_a_killed_process_left_is_swept_wherever_it_wrote(home: Home) -> None:
    places = ["", "landing", "photos", "models", "models/.0123.resume", "embeddings", "embeddings/ab"]
    folders = [str(home.path / place) for place in places]
    ran = subprocess.run([sys.executable, "-c", LEAVE, *folders], check=False)
    assert ran.returncode == -9
    assert len(leftovers(home)) == 2 * len(places)
    sweep(home)
    assert leftovers(home) == [] == list(home.path.rglob("*.tmp"))


def test_what_a_living_process_writes_is_left_alone(home: Home) -> None:
    with whole_file(home.landing / "rows.parquet") as temporary:
        temporary.write_text("half")
        sweep(home)
        assert temporary.exists()
    assert (home.landing / "rows.parquet").read_text() == "half"


def test_a_process_number_that_came_again_is_another_process(home: Home) -> None:
    home.landing.mkdir(parents=True)
    name = temporary_name("rows")
    host, pid, started = name.split(".")[2].split("-")
    (home.landing / name.replace(f"{pid}-{started}", f"{pid}-{int(started) - 5}")).touch()
    sweep(home)
    assert not list(home.landing.iterdir())


def test_a_temporary_name_is_short_however_long_the_name_is() -> None:
    assert len(temporary_name("n" * 255)) < 100


OWNERS = {
    "another machine": ("0" * 24, False),
    "another PID namespace of this machine": (host()[:16] + "0" * 8, False),
    "this machine before it was started again": (host()[:8] + "0" * 8 + host()[16:], True),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_what_another_host_writes_is_left_alone_until_it_is_old(home: Home, owner: str) -> None:
    """Two containers on one data directory both count their processes from one."""
    home.landing.mkdir(parents=True)
    named, swept_at_once = OWNERS[owner]
    name = temporary_name("rows").replace(host(), named)
    name = name.replace(f"-{os.getpid()}-", "-1-")
    young, old = home.landing / name, home.landing / name.replace(".tmp", ".tmp.wal")
    for path, age_days in ((young, 0.9), (old, 1.1)):
        path.touch()
        os.utime(path, (time.time() - age_days * 86400,) * 2)
    sweep(home)
    assert (young.exists(), old.exists()) == (not swept_at_once, False)


def test_checkpoints_are_kept_for_three_days_and_what_ops_hand_on_for_one(home: Home) -> None:
    kept = [aged(home.artefacts.models.folder / ".young.resume", 2.9), aged(home.op_outputs / "young", 0.9)]
    swept = [aged(home.artefacts.models.folder / ".old.resume", 3.1), aged(home.op_outputs / "old", 1.1)]
    sweep(home)
    assert [path.exists() for path in (*kept, *swept)] == [True, True, False, False]


HOLD = """
import sys
from pathlib import Path
from vps_ml import processes
processes.host = lambda: sys.argv[2]
processes.be_seen(Path(sys.argv[1]))
print(processes.here_and_now(), flush=True)
sys.stdin.read()
"""


def test_a_process_of_another_container_is_seen_by_its_lock(home: Home) -> None:
    """As after `docker restart`: the machine and its start are the same, the PID namespace is another."""
    elsewhere = "f" * 8 + host()[8:16] + "0" * 8
    command = [sys.executable, "-c", HOLD, str(home.processes), elsewhere]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        process = other.stdout.readline().strip()
        assert has_ended(process) is None
        assert has_ended(process, home.processes) is False
        other.kill()
    assert has_ended(process, home.processes) is True
    left = home.path / temporary_name("x").replace(here_and_now(), process)
    left.touch()
    sweep(home)
    assert not left.exists()
    lock = home.processes / f"{process}.lock"
    assert lock.exists()  # a run may still name it
    os.utime(lock, (time.time() - 3 * 86400,) * 2)
    sweep(home)
    assert [path.name for path in home.processes.iterdir()] == [f"{here_and_now()}.lock"]
