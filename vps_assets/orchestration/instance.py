"""The Dagster instance under `$VPS_HOME/dagster`, shared by the command line, the UI and the daemon."""

import shutil
import time
from pathlib import Path

import dagster as dg
import psutil

from vps_assets.home import Home

CONFIGURATION = Path(__file__).with_name("dagster.yaml")
UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED
STARTS_WITHIN_S = {NOT_STARTED: 900.0}
"""Creating a run writes an event per partition first; launching it takes two minutes at most (the default)."""


def prepare_instance(home: Home) -> Path:
    """The instance's folder, with its `dagster.yaml`: the repository's, unless an operator has replaced it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    target = home.dagster / CONFIGURATION.name
    if not target.exists():
        shutil.copyfile(CONFIGURATION, target)
    return home.dagster


def open_instance(home: Home) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(prepare_instance(home)))


def free_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail runs whose process is gone, and free the pool slots that no living run holds; the runs' ids.

    Run monitoring does this if a Dagster daemon runs; without one, a killed run would hold its slots
    for ever.
    """
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, NOT_STARTED])):
        if not alive(instance, run.run_id):
            instance.report_run_failed(run, "Its process is gone: killed, or the machine went down.")
            dead.append(run.run_id)
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in info.active_run_ids | info.pending_run_ids | info.assigned_run_ids:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
    return dead


def alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that executes the run, as its events name it, still exists."""
    record = instance.get_run_record_by_id(run_id)
    started = record.start_time if record else None
    pids = {
        int(entry.value)
        for log in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        if log.dagster_event and log.dagster_event.event_specific_data
        for name, entry in getattr(log.dagster_event.event_specific_data, "metadata", {}).items()
        if name == "pid"
    }
    return any(same_process(pid, started) for pid in pids) if pids else starting(record)


def same_process(pid: int, run_started: float | None) -> bool:
    """Whether this process number still belongs to the process that it belonged to when the run started."""
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return False
    return run_started is None or created <= run_started + 1


def starting(record: dg.RunRecord | None) -> bool:
    """Whether a run without a process is recent enough to be still in creation or launch."""
    if record is None:
        return False
    longest_s = STARTS_WITHIN_S.get(record.dagster_run.status, 120.0)
    return time.time() - record.update_timestamp.timestamp() < longest_s


if __name__ == "__main__":
    print(prepare_instance(Home.from_environment()))
