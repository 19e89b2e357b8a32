"""Jobs for `vps_ml.compute`, in a module that workers on other hosts can import."""

import os
import signal
import time
from pathlib import Path

import torch

from vps_ml.compute import Log
from vps_ml.data_parallel import Rank


def doubled(job: int, log: Log) -> int:
    log(f"job {job}")
    return 2 * job


def where(job: int, log: Log) -> str:
    import ray

    time.sleep(1)
    return str(ray.get_runtime_context().get_node_id())


def killed_once(job: Path, log: Log) -> int:
    """Its worker is killed the first time, as a lost host's is."""
    if not job.exists():
        job.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def failing(job: int, log: Log) -> int:
    if job == 1:
        raise ValueError("this photo is none")
    time.sleep(60)
    return job


def slow(job: Path, log: Log) -> None:
    job.write_text(str(os.getpid()))
    time.sleep(60)


def failing_rank(rank: Rank, log: Log, number: int) -> int:
    """One rank fails, while the others wait for it."""
    log("begun")
    if rank.number == number:
        raise ValueError("this photo is none")
    return int(rank.mean(torch.ones(())).item())


def killed_rank(rank: Rank, log: Log, number: int) -> int:
    if rank.number == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(rank.mean(torch.ones(())).item())
