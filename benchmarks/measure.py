"""What every benchmark here shares: interleaved rounds, peak memory of a fresh process, the table, the JSON line.

The machines are shared and noisy, so only ratios of one interleaved run mean anything.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Way = Callable[[], object]


def cpu_seconds(way: Way) -> float:
    """CPU time of one call, of all of this process's threads."""
    start = time.process_time()
    way()
    return time.process_time() - start


def wall_seconds(way: Way) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def interleaved(ways: Mapping[str, Way], rounds: int, clock: Callable[[Way], float] = cpu_seconds) -> dict[str, float]:
    """Median seconds of each way over rounds in which each has its turn."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            spent[name].append(clock(way))
    return {name: float(np.median(seconds)) for name, seconds in spent.items()}


def peak_mib(function: Callable, *arguments: object) -> float:
    """The most memory that a fresh process takes to call a module's function."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_of, (function, arguments))


def peak_of(function: Callable, arguments: tuple) -> float:
    function(*arguments)
    return memory_mib("VmHWM")


def memory_mib(figure: str) -> float:
    """A figure of this process's memory: `VmHWM` its peak, `RssAnon` what it holds now, mapped files aside."""
    status = Path("/proc/self/status").read_text()  # not getrusage: a child inherits its parent's peak there
    return int(status.split(f"{figure}:")[1].split()[0]) / 1024


def tell(line: str) -> None:
    """A line of the table, for people."""
    print(line, file=sys.stderr, flush=True)


def tell_seconds(seconds: Mapping[str, float], ours: str, clock: str = "CPU") -> None:
    """A line per way: its seconds, and how often ours fits into them."""
    for name, value in seconds.items():
        tell(f"  {name:44} {value:9.3f} s {clock}  {value / seconds[ours]:6.2f} x {ours}")


def report(**results: object) -> None:
    """The last line: everything as JSON."""
    print(json.dumps(results))
