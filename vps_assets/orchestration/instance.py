"""The Dagster instance under `$VPS_HOME/dagster`, shared by the command line, the UI and the daemon."""

import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import dagster as dg
import yaml

from vps_assets.errors import Failure, one_line
from vps_assets.home import Home
from vps_assets.orchestration.event_log import with_kept_connections
from vps_assets.orchestration.internals import InstanceRef
from vps_assets.orchestration.output_logs import with_deaf_helpers
from vps_assets.warehouse import presence
from vps_assets.warehouse.io_manager import PROCESS_TAG
from vps_ml.processes import has_ended, here_and_now

CONFIGURATION = Path(__file__).with_name("dagster.yaml")
UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
NOT_STARTED = dg.DagsterRunStatus.NOT_STARTED
STARTS_WITHIN_S = {NOT_STARTED: 900.0}
"""Creating a run writes an event per partition first; launching it takes two minutes at most (the default)."""

UNSEEN_FOR_S = 86400.0


def prepare_instance(home: Home) -> Path:
    """The instance's folder, with its `dagster.yaml`: the repository's, unless an operator has replaced it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    target = home.dagster / CONFIGURATION.name
    if not target.exists():
        shutil.copyfile(CONFIGURATION, target)
    return home.dagster


class WrongInstance(Failure):
    """The instance's settings cannot be read."""


def open_instance(home: Home) -> dg.DagsterInstance:
    """The instance.

    Raises:
        WrongInstance: its `dagster.yaml` makes no sense.
    """
    try:
        ref = InstanceRef.from_dir(str(prepare_instance(home)))
        return dg.DagsterInstance.from_ref(with_deaf_helpers(with_kept_connections(ref)))
    except (yaml.YAMLError, dg.DagsterInvalidConfigError) as error:
        file = home.dagster / CONFIGURATION.name
        if unset := re.search(r'environment variable "(\w+)" which is not set', str(error)):
            raise WrongInstance(f"{unset[1]} is not set, and {file} names it") from error
        wrong = one_line(error)[:150]
        raise WrongInstance(f"{file}: {wrong}: correct it, or `rm {file}`: the default takes its place") from error


BROKE_OFF = "vps/broke_off"
"""Tag of a failed run whose process is gone, or was interrupted: nothing in it failed."""


INTERRUPTIONS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError", "Query interrupted")
"""What errors say that an interruption comes out as: Python's, Dagster's, DuckDB's."""


def note_interrupted(instance: dg.DagsterInstance, since: datetime) -> None:
    """Tag the run of this process that failed since then because the process was interrupted.

    Which process it is of is noted only once its resources are there.
    """
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    for run in instance.get_runs(failed):
        ours = run.tags.get(PROCESS_TAG, here_and_now()) == here_and_now()
        if ours and not any(
            of_itself(entry) for entry in instance.all_logs(run.run_id, dg.DagsterEventType.STEP_FAILURE)
        ):
            instance.add_run_tags(run.run_id, {BROKE_OFF: "yes"})


def of_itself(failure: dg.EventLogEntry) -> bool:
    """Whether a step failed of something else than an interruption."""
    error = failure.get_dagster_event().step_failure_data.error
    return error is not None and not any(word in error.to_string() for word in INTERRUPTIONS)


def free_dead_runs(instance: dg.DagsterInstance, *, wait: bool = False) -> list[str]:
    """Fail runs whose process is gone, and free the pool slots that no living run holds; the runs' ids.

    `wait` takes the time to be sure of other hosts' runs (`presence.has_ended`), for who looks once. Run monitoring
    does this if a Dagster daemon runs; without one, a killed run would hold its slots for ever.
    """
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, NOT_STARTED])):
        if not alive(instance, run.run_id, wait=wait):
            instance.report_run_failed(run, "Its process is gone: killed, or the machine went down.")
            instance.add_run_tags(run.run_id, {BROKE_OFF: "yes"})
            dead.append(run.run_id)
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in info.active_run_ids | info.pending_run_ids | info.assigned_run_ids:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
    return dead


def unfinished_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that are queued or in progress; those of dead processes are failed first, and their slots freed."""
    free_dead_runs(instance)
    waiting = [dg.DagsterRunStatus.QUEUED, NOT_STARTED]
    return list(instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED, *waiting])))


def alive(instance: dg.DagsterInstance, run_id: str, *, wait: bool = False) -> bool:
    """Whether the process that executes the run, as its tag names it, still exists.

    Without a tag the run counts as starting: the process numbers in its events may be those of another host. In another
    container it is seen by its lock, and on another host by one in Postgres. Where neither can be, as with records
    that two hosts share in a folder, its run counts as alive until it has been silent for a day.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is not None and (process := record.dagster_run.tags.get(PROCESS_TAG)):
        ended = has_ended(process, Home(Path(instance.root_directory).parent).processes)
        ended = presence.has_ended(instance, process, wait=wait) if ended is None else ended
        return not (silent(instance, run_id) if ended is None else ended)
    return starting(record)


def silent(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether nothing has been heard of a run for longer than any step takes without a word."""
    newest = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return not newest or abs(time.time() - newest[0].event_log_entry.timestamp) > UNSEEN_FOR_S


def starting(record: dg.RunRecord | None) -> bool:
    """Whether a run without a process is recent enough to be still in creation or launch."""
    if record is None:
        return False
    longest_s = STARTS_WITHIN_S.get(record.dagster_run.status, 120.0)
    return abs(time.time() - record.update_timestamp.timestamp()) < longest_s  # also if the clock was set back


if __name__ == "__main__":
    print(prepare_instance(Home.from_environment()))
