import os
import subprocess
import sys
import time
from pathlib import Path

from vps_assets.home import Home
from vps_assets.sweeping import leftovers, sweep
from vps_ml.atomic import temporary_name, whole_file

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
    pid, started = name.split(".")[2].split("-")
    (home.landing / name.replace(f"{pid}-{started}", f"{pid}-{int(started) - 5}")).touch()
    sweep(home)
    assert not list(home.landing.iterdir())


def test_checkpoints_are_kept_for_three_days_and_what_ops_hand_on_for_one(home: Home) -> None:
    kept = [aged(home.artefacts.models.folder / ".young.resume", 2.9), aged(home.op_outputs / "young", 0.9)]
    swept = [aged(home.artefacts.models.folder / ".old.resume", 3.1), aged(home.op_outputs / "old", 1.1)]
    sweep(home)
    assert [path.exists() for path in (*kept, *swept)] == [True, True, False, False]
