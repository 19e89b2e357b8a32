"""`vps doctor`: whether the state is healthy, in ten lines, and what to do where it is not."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vps_assets.home import Home
from vps_assets.landing.inbox import dropped
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import UNFINISHED, alive
from vps_assets.orchestration.run import state
from vps_assets.warehouse.database import Warehouse, current
from vps_ml.recipes import Recipe

if TYPE_CHECKING:
    import dagster as dg

OK, LOOK, BAD = "ok", "look", "bad"
LEAST_FREE_GIB, LITTLE_FREE_GIB = 1.0, 10.0
LOCK_TIMEOUT_S = 10.0
DAEMON_SILENT_S = 300.0
FRESH_WITHIN = timedelta(hours=48)
LATELY_S = 86400.0


@dataclass(frozen=True)
class Finding:
    """One line."""

    state: str
    """ok, look (somebody should, some time) or bad (it does not work)."""
    subject: str
    told: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.subject:14}  {self.told}{f' -> {self.todo}' if self.todo else ''}"


@dataclass(frozen=True)
class Patient:
    """What is examined."""

    home: Home
    recipe: Recipe
    instance: "dg.DagsterInstance"

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home, LOCK_TIMEOUT_S)


def examined(home: Home, recipe: Recipe) -> list[Finding]:
    """The ten findings; one that cannot be made says why, and the others are made all the same."""
    from vps_assets.orchestration.instance import open_instance

    findings = [disk(home)]
    if findings[0].state == BAD and not os.access(home.path, os.W_OK):
        return findings
    with open_instance(home) as instance:
        patient = Patient(home, recipe, instance)
        for subject, examine in EXAMINATIONS.items():
            try:
                found, told, todo = examine(patient)
            except Exception as error:  # whatever is broken, the other lines are to be read
                found, told, todo = BAD, " ".join(str(error).split())[:200], f"see docs/operations.md, “{subject}”"
            findings.append(Finding(found, subject, told, todo))
    return findings


def disk(home: Home) -> Finding:
    """Whether the data directory can be written, and goes on being so."""
    home_there = home.path if home.path.exists() else home.path.parent
    if not os.access(home_there, os.W_OK):
        return Finding(BAD, "disk", f"{home.path} cannot be written", "give the user that runs this the right to")
    free = shutil.disk_usage(home_there).free / 2**30
    found = BAD if free < LEAST_FREE_GIB else LOOK if free < LITTLE_FREE_GIB else OK
    return Finding(found, "disk", f"{free:.1f} GiB free", "make room before the next run" if found != OK else "")


Told = tuple[str, str, str]
"""(ok, look or bad; what is; what to do)."""


def warehouse(patient: Patient) -> Told:
    if not patient.home.warehouse.exists():
        return LOOK, "nothing has been made yet", "vps land FILE, then vps run"
    with patient.warehouse.connect(read_only=True) as connection:
        (count,) = connection.execute("select count(*) from duckdb_tables() where schema_name = 'main'").fetchall()[0]
    return OK, f"{count} tables", ""


def published(patient: Patient) -> Told:
    if not patient.home.warehouse.exists():
        return OK, "nothing to publish yet", ""
    if current(patient.home):
        return OK, "the analysts' copy is current", ""
    return LOOK, "the analysts' copy is behind the warehouse", "it is renewed when a run ends; vps run does it now"


def inbox(patient: Patient) -> Told:
    waiting = len(dropped(patient.home.inbox))
    refused = [path for path in patient.home.inbox.glob("refused/*") if not path.name.endswith(".reason.txt")]
    told = f"{waiting} files wait, {len(refused)} were refused"
    if refused:
        return LOOK, told, f"read {patient.home.inbox}/refused/*.reason.txt, mend, drop again, delete the refused file"
    return OK, told, ""


def out_of_date(patient: Patient) -> Told:
    if not list(patient.home.landing.glob("*.parquet")):
        return LOOK, "nothing has landed", "vps land FILE, or drop files in the inbox"
    stale, _ = state(landed_index(patient.home), patient.recipe, patient.warehouse)
    if not stale:
        return OK, f"all {len(LINEAGE)} assets are up to date with what has landed", ""
    names = ", ".join(list(stale)[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
    return LOOK, f"{names} are behind what has landed", "the sensors make them; vps run does it now"


def champion(patient: Patient) -> Told:
    row = patient.warehouse.read("champion_model")
    if row is None or row.is_empty():
        return LOOK, "there is no champion: nothing can be suggested", "vps run"
    model_id, path = row["model_id"][0], row["path"][0]
    if not (patient.home.path / path).is_dir():
        return BAD, f"the champion's files, {path}, are gone", "restore them from the backup, or vps rollback"
    return OK, f"{model_id}, {row['decision'][0]} on {row['decided_at'][0]:%Y-%m-%d}", ""


def freshness(patient: Patient) -> Told:
    made = patient.warehouse.made_at().get("price_suggestions")
    if made is None:
        return LOOK, "no price has been suggested yet", "vps run"
    age = timedelta(seconds=time.time() - made)
    told = f"suggestions were last made {datetime.fromtimestamp(made):%Y-%m-%d %H:%M}"
    return (OK, told, "") if age < FRESH_WITHIN else (LOOK, told, "are listings still coming in? See the inbox")


def runs(patient: Patient) -> Told:
    import dagster as dg

    since = datetime.now().astimezone() - timedelta(seconds=LATELY_S)
    failed = patient.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since))
    unfinished = patient.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    dead = [run for run in unfinished if not alive(patient.instance, run.run_id)]
    told = f"{len(unfinished) - len(dead)} under way, {len(dead)} dead, {len(failed)} failed in the last day"
    if dead:
        return LOOK, told, "a daemon or the next vps run gives back what the dead hold"
    return (LOOK, told, "read the newest failure in the UI (make ui)") if failed else (OK, told, "")


def checks(patient: Patient) -> Told:
    from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

    from vps_assets.definitions import defs

    keys = list(defs.resolve_asset_graph().asset_check_keys)
    latest = patient.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    wrong: list[str] = []
    warned: list[str] = []
    for key, record in latest.items():
        if record.status == AssetCheckExecutionRecordStatus.FAILED and record.event:
            evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
            (wrong if evaluation.severity.value == "ERROR" else warned).append(
                f"{key.asset_key.to_user_string()}: {key.name}"
            )
    if wrong:
        return BAD, f"failed: {', '.join(wrong)}", "see the check in the UI; docs/operations.md says what each means"
    if warned:
        return LOOK, f"unusual: {', '.join(warned)}", "see the check in the UI; docs/operations.md says what each means"
    return OK, f"{len(latest)} checks passed when they last ran", ""


def unattended(patient: Patient) -> Told:
    beats = patient.instance.get_daemon_heartbeats()
    newest = max((beat.timestamp for beat in beats.values()), default=0.0)
    if time.time() - newest > DAEMON_SILENT_S:
        return LOOK, "no Dagster daemon is running: nothing happens by itself", "make ui, or dagster-daemon run"
    from vps_assets.orchestration import alerts
    from vps_assets.orchestration.sensors import SENSORS, is_running

    stopped = [sensor.name for sensor in SENSORS if not is_running(patient.instance, sensor.name)]
    if stopped:
        return LOOK, f"stopped: {', '.join(stopped)}", "start them in the UI, under Automation"
    if wrong := alerts.problem():
        return LOOK, f"nobody hears of failures: {wrong}", "see docs/operations.md, What each alert means"
    return OK, "the daemon is running, the sensors tick", ""


EXAMINATIONS: dict[str, Callable[[Patient], Told]] = {
    "warehouse": warehouse,
    "analysts' copy": published,
    "inbox": inbox,
    "lineage": out_of_date,
    "champion": champion,
    "suggestions": freshness,
    "runs": runs,
    "checks": checks,
    "sensors": unattended,
}
"""With the disk, ten lines."""
