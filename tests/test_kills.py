"""`kill -9` at random moments of real work: what was there stays readable, and a re-run ends as if nothing had been."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import pytest
from episodes import command, days_of, each_partition_is_whole, nothing_is_left_behind, state_of, succeed, until
from safetensors.torch import save_file

from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse

KILLS = 50
DAYS = 6
MOST_KILLS_A_DAY = 8
CHANGED_RECIPE_ON = 3
"""From this day on the backbones start from another state, so that everything is trained anew."""


IN_TURN = ("writing a table", "training", "keeping a result", "embedding", "publishing", "promoting")
"""In the order in which a run comes to them, since the next one goes on where this one was killed."""


def moments(home: Home) -> dict[str, tuple[Callable[[Path], bool], float]]:
    """What a kill waits for, given the file of the process's progress, and the longest pause after that, seconds."""

    def exists(pattern: str) -> Callable[[Path], bool]:
        before = set(home.path.glob(pattern))  # what an earlier kill has left
        return lambda log: not before.issuperset(home.path.glob(pattern))

    def logged(words: str) -> Callable[[Path], bool]:
        return lambda log: words in log.read_text()

    return {
        "landing": (exists("landing/.*.tmp"), 0.03),
        "writing a table": (exists("warehouse.duckdb.wal"), 0.01),
        "training": (logged("task_backbones"), 20.0),
        "keeping a result": (exists("models/.*.tmp"), 0.03),
        "embedding": (logged("image_embeddings"), 4.0),
        "publishing": (exists(".analytics.*"), 0.03),
        "promoting": (logged("champion_model"), 12.0),
    }


def killed(home: Home, log: Path, moment: str, patience_s: float, *arguments: str, **environment: str) -> str:
    """Start the command and kill it at this moment, or when patience ends; at which, or "" if it was done before."""
    condition, longest_s = moments(home)[moment]
    line, keywords = command(home.path, *arguments, **environment)
    end = time.monotonic() + patience_s
    with log.open("w") as progress:
        process = subprocess.Popen(line, stdout=progress, stderr=progress, **keywords)
        until(lambda: condition(log) or time.monotonic() > end, process)
        met = condition(log)
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0, longest_s) if met else 0)
        process.kill()
        code = process.wait()
    assert code in (0, -9), log.read_text()[-2000:]
    return (moment if met else "anywhere") if code == -9 else ""


def weights(folder: Path) -> Path:
    from vps_ml.backbones.networks import resnet

    save_file(resnet("resnet10", "random", 7).state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.mark.slow
def test_fifty_kills_leave_what_an_unbroken_run_leaves(tmp_path: Path) -> None:
    random.seed(0)
    days, start = days_of(tmp_path, 360, DAYS), str(weights(tmp_path))
    broken, unbroken = Home(tmp_path / "broken"), Home(tmp_path / "unbroken")
    images, log = str(days[0].parent), tmp_path / "log"
    kills: Counter[str] = Counter()
    for number, day in enumerate(days):
        environment = {"VPS_WEIGHTS": start} if number >= CHANGED_RECIPE_ON else {}
        land = ("land", str(day), "--images", images)
        before = state_of(broken.analytics)
        kills[killed(broken, log, "landing", 60, *land)] += 1
        succeed(broken.path, *land)
        seen = []
        for moment in islice(cycle(IN_TURN), MOST_KILLS_A_DAY):
            everything_is_trained = number in (0, CHANGED_RECIPE_ON)  # some moments come only after a while then
            patience_s = 250.0 if everything_is_trained else random.uniform(4, 9)
            at = killed(broken, log, moment, patience_s, "run", **environment)
            if not at:
                break
            kills[at] += 1
            seen += [state_of(broken.analytics), state_of(broken.warehouse)]
        succeed(broken.path, "run", **environment)
        after = state_of(broken.warehouse)
        for state in seen:
            each_partition_is_whole(state, before, after)
        nothing_is_left_behind(broken)
        succeed(unbroken.path, *land)
        succeed(unbroken.path, "run", **environment)
        assert after == state_of(unbroken.warehouse)
        assert Warehouse(broken).records() == Warehouse(unbroken).records()
        artefacts = [{path.name for path in home.artefacts.models.folder.iterdir()} for home in (broken, unbroken)]
        assert artefacts[0] >= artefacts[1]
    del kills[""]  # a landing that was done before it could be killed
    print(f"{kills.total()} kills: {dict(kills)}")
    assert kills.total() >= KILLS
    assert set(kills) == {*moments(broken), "anywhere"}
