"""Where the work of minutes runs: in this process, or on the hosts of a Ray cluster (`VPS_EXECUTOR=ray`).

An op that trains or embeds divides its work into jobs, each of which leaves its result as an artefact. Here they run
one after the other; on Ray each is a task, on a host with an accelerator if any has one. Steps of seconds stay in the
run's process: a Dagster step on Ray takes 5 to 20 s to start, a task on a worker that has already worked 10 ms
(docs/adr/0026).
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Log = Callable[[str], None]

HERE, RAY = "here", "ray"
EXECUTORS = (HERE, RAY)
RETRIES = 2
"""How often Ray begins a task again whose worker or host was lost; what had become an artefact is not made again."""
LOOKS_EVERY_S = 0.5
ANSWERS_WITHIN_S = 10.0


class NoCluster(RuntimeError):
    """There is no Ray cluster to run on; the message says what to do."""


def each(
    executor: str, work: Callable[[Job, Log], Result], jobs: Sequence[Job], log: Log, whole_hosts: bool = False
) -> list[Result]:
    """What `work` returns for each job, in their order.

    Args:
        executor: one of `EXECUTORS`.
        work: a function of a module, which takes a job and what to log with.
        jobs: with artefacts that all hosts reach.
        log: takes a line at a time, from whichever host.
        whole_hosts: a job takes all accelerators of its host (as many as the smallest host has), rather than one.

    Raises:
        NoCluster: `RAY_ADDRESS` names no cluster.
        Exception: the first error of a job; jobs that have not ended are stopped.
    """
    if executor != RAY:
        return [work(job, log) for job in jobs]
    return on_ray(work, jobs, log, whole_hosts) if jobs else []


def slots(executor: str) -> int:
    """How many jobs can run at the same time.

    Raises:
        NoCluster: see `each`.
    """
    if executor != RAY:
        return 1
    ray = joined()
    return max(1, int(ray.cluster_resources().get("GPU", 0)) or hosts(ray))


def parts(items: Sequence[Any], count: int) -> list[list[Any]]:
    """The items in at most `count` parts of nearly equal length, in their order; none of them empty."""
    count = min(count, len(items))
    ends = [len(items) * k // count for k in range(count + 1)] if count else []
    return [list(items[first:last]) for first, last in zip(ends, ends[1:], strict=False)]


def joined() -> Any:
    """The module `ray`, connected to the cluster that `RAY_ADDRESS` names."""
    import ray

    if not ray.is_initialized():
        before = signal.getsignal(signal.SIGTERM)
        try:
            answers(os.environ.get("RAY_ADDRESS", ""))
            ray.init(address="auto", log_to_driver=False, logging_level="warning", configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise NoCluster("VPS_EXECUTOR=ray: no cluster answers; is RAY_ADDRESS its head's HOST:PORT?") from error
        finally:
            with suppress(ValueError):  # another thread than the main one has set nothing
                signal.signal(signal.SIGTERM, before)  # Ray's own would end a run as if it had crashed
    return ray


def answers(address: str) -> None:
    """Whether somebody listens there; Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
        ValueError: it is no HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN_S).close()


def on_ray(work: Callable[[Job, Log], Result], jobs: Sequence[Job], log: Log, whole_hosts: bool) -> list[Result]:
    """The jobs as tasks, spread over the hosts."""
    ray = joined()
    from ray.util.queue import Queue

    lines = Queue(actor_options={"num_cpus": 0})
    task = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD", **demand(ray, whole_hosts))(telling)
    tasks = [task.remote(work, job, lines) for job in jobs]
    waiting = list(tasks)
    try:
        while waiting:
            ended, waiting = ray.wait(waiting, timeout=LOOKS_EVERY_S)
            for line in lines.get_nowait_batch(lines.qsize()):
                log(line)
            ray.get(ended)  # raises what one of them did
        for line in lines.get_nowait_batch(lines.qsize()):
            log(line)
        return ray.get(tasks)
    except BaseException:
        for one in waiting:
            ray.cancel(one, force=True)
        raise
    finally:
        lines.shutdown(force=True)


def demand(ray: Any, whole_hosts: bool) -> dict[str, int]:
    """What a task takes of the cluster: one accelerator or those of a host, or where there is none a host's cores."""
    resources = ray.cluster_resources()
    if resources.get("GPU"):
        have = [int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]]
        return {"num_gpus": min(count for count in have if count) if whole_hosts else 1}
    return {"num_cpus": max(1, int(resources.get("CPU", 1)) // hosts(ray))}


def hosts(ray: Any) -> int:
    """How many hosts of the cluster are alive."""
    return sum(node["Alive"] for node in ray.nodes()) or 1


def telling(work: Callable[[Job, Log], Result], job: Job, lines: Any) -> Result:
    """The job's result; what it logs goes to the host that asked for it."""
    return work(job, lines.put)
