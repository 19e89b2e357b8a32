"""`kill -9` at random moments of real work: what was there stays readable, and a re-run ends as if nothing had been."""

import random
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from episodes import State, command, days_of, nothing_is_left_behind, state_of, succeed, until
from safetensors.torch import save_file

from vps_assets.home import Home
from vps_assets.resources.warehouse import Warehouse

KILLS = 42
DAYS = 7
CHANGED_RECIPE_ON = 4
"""From this day on the backbones start from another state, so that everything is trained anew."""


EACH_DAY = ("writing a table", "publishing", "embedding", "anywhere", "training", "promoting", "publishing")
"""In the order in which a run comes to them, so that each kill finds work that is still to be done."""


def moments(home: Home) -> dict[str, tuple[Callable[[Path], bool], float]]:
    """What a kill waits for, given the file of the process's progress, and the longest pause after that, seconds."""

    def there(pattern: str) -> Callable[[Path], bool]:
        return lambda told: next(home.path.glob(pattern), None) is not None

    def said(words: str) -> Callable[[Path], bool]:
        return lambda told: words in told.read_text()

    return {
        "landing": (there("landing/.*.tmp"), 0.03),
        "writing a table": (there("warehouse.duckdb.wal"), 0.01),
        "training": (there("models/.*.tmp"), 1.5),
        "embedding": (there("embeddings/**/.*.tmp"), 0.2),
        "publishing": (there(".analytics.*"), 0.03),
        "promoting": (said("champion_model"), 0.7),
        "anywhere": (lambda told: True, 8.0),
    }


def killed(home: Home, told: Path, moment: str, rng: random.Random, *arguments: str, **environment: str) -> bool:
    """Start the command and kill it at this moment; whether it was killed, rather than done before."""
    condition, longest_s = moments(home)[moment]
    line, keywords = command(home.path, *arguments, **environment)
    with told.open("w") as progress:
        process = subprocess.Popen(line, stdout=progress, stderr=progress, **keywords)
        if until(lambda: condition(told), process):
            try:
                process.wait(rng.uniform(0, longest_s))
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.wait()
    assert code in (0, -9), told.read_text()[-2000:]
    return code == -9


def each_partition_is_whole(seen: State, before: State, after: State) -> None:
    """What a reader saw in between is, partition by partition, as it was before or as it is after."""
    mixed = [key for key, value in seen.items() if value not in (before.get(key), after.get(key))]
    assert not mixed, mixed


def weights(folder: Path) -> Path:
    from vps_ml.backbones import resnet

    save_file(resnet("resnet10", "random", 7).state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


@pytest.mark.slow
def test_forty_kills_leave_what_an_unbroken_run_leaves(tmp_path: Path) -> None:
    rng = random.Random(0)
    days, start = days_of(tmp_path, 360, DAYS), str(weights(tmp_path))
    broken, unbroken = Home(tmp_path / "broken"), Home(tmp_path / "unbroken")
    images, told = str(days[0].parent), tmp_path / "told"
    kills: Counter[str] = Counter()
    for number, day in enumerate(days):
        environment = {"VPS_WEIGHTS": start} if number >= CHANGED_RECIPE_ON else {}
        land = ("land", str(day), "--images", images)
        before = state_of(broken.analytics)
        kills["landing"] += killed(broken, told, "landing", rng, *land)
        succeed(broken.path, *land)
        seen = []
        for moment in EACH_DAY:
            if killed(broken, told, moment, rng, "run", **environment):
                kills[moment] += 1
                seen += [state_of(broken.analytics), state_of(broken.warehouse)]
        succeed(broken.path, "run", **environment)
        after = state_of(broken.warehouse)
        for state in seen:
            each_partition_is_whole(state, before, after)
        nothing_is_left_behind(broken)
        succeed(unbroken.path, *land)
        succeed(unbroken.path, "run", **environment)
        assert after == state_of(unbroken.warehouse)
        assert Warehouse(broken).fingerprints() == Warehouse(unbroken).fingerprints()
        artefacts = [{path.name for path in home.models.iterdir()} for home in (broken, unbroken)]
        assert artefacts[0] >= artefacts[1]
    print(f"{kills.total()} kills: {dict(kills)}")
    assert kills.total() >= KILLS
    assert len(kills) == len(moments(broken))
