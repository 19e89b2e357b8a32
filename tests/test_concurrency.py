"""Four runs at once on one data directory, two of them on the same dates, with analysts at the published copy."""

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from episodes import State, command, days_of, each_partition_is_whole, nothing_is_left_behind, state_of, succeed

from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse

KEEPS_IT_OPEN = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
count = "select count(*), count(distinct listed_on), sum(sold_price) from raw_listings"
first = connection.execute(count).fetchall()
print("open", flush=True)
while not sys.stdin.closed and time.sleep(0.05) is None:
    assert connection.execute(count).fetchall() == first
    connection.execute("select count(*) from evaluation_predictions").fetchall()
"""


class Looking(threading.Thread):
    """An analyst who opens the published copy again and again."""

    def __init__(self, database: Path) -> None:
        super().__init__(daemon=True)
        self.database, self.seen, self.wrong = database, list[State](), list[Exception]()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self.seen.append(state_of(self.database))
            except Exception as error:
                self.wrong.append(error)


@pytest.mark.slow
def test_four_runs_at_once_come_to_what_one_run_comes_to_and_no_reader_sees_a_mixture(tmp_path: Path) -> None:
    base, *news = days_of(tmp_path, 360, 3)
    images = str(base.parent)
    crowded, alone = Home(tmp_path / "crowded"), Home(tmp_path / "alone")
    for home in (crowded, alone):
        succeed(home.path, "land", str(base), "--images", images)
        succeed(home.path, "run")
        succeed(home.path, "land", *map(str, news), "--images", images)
    before = state_of(crowded.analytics)

    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPS_IT_OPEN, str(crowded.analytics)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == b"open\n"
    looking = Looking(crowded.analytics)
    looking.start()
    dates = ("--select", "+image_embeddings", "--from", "2024-07-20")
    requests = [("run",), ("run",), ("run", *dates), ("run", *dates)]
    started = []
    for number, arguments in enumerate(requests):
        line, keywords = command(crowded.path, *arguments)
        log = (tmp_path / f"log{number}").open("w")
        started.append(subprocess.Popen(line, stdout=log, stderr=log, **keywords))
    codes = [process.wait(500) for process in started]
    looking.done.set()  # before anything can fail: a reader that goes on outlives the test
    looking.join()
    kept_open = keeper.poll() is None
    keeper.kill()
    keeper.wait()
    assert codes == [0] * 4, [(tmp_path / f"log{number}").read_text()[-800:] for number in range(4)]
    assert kept_open
    assert looking.wrong == []

    succeed(alone.path, "run")
    succeed(crowded.path, "run")
    after = state_of(alone.warehouse)
    assert state_of(crowded.warehouse) == after
    assert Warehouse(crowded).records() == Warehouse(alone).records()
    nothing_is_left_behind(crowded)
    for seen in looking.seen:
        each_partition_is_whole(seen, before, after)
    changes = sum(first != second for first, second in pairwise(looking.seen))
    assert changes > 1, "the readers saw nothing change"
