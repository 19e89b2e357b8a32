"""`vps doctor`: whether the state is healthy, in ten lines, and what to do if it is not."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from vps_assets.definitions import defs
from vps_assets.errors import one_line
from vps_assets.home import Home
from vps_assets.landing.inbox import dropped
from vps_assets.landing.landed import landed_files, landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration import alerts
from vps_assets.orchestration.instance import UNFINISHED, alive, open_instance
from vps_assets.orchestration.sensors import SENSOR_NAMES, is_running
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.analytics import current
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe

OK, LOOK, BAD = "ok", "look", "bad"
LEAST_FREE_GIB, LITTLE_FREE_GIB = 1.0, 10.0
LOCK_TIMEOUT_S = 10.0
DAEMON_SILENT_S = 300.0
FRESH_WITHIN = timedelta(hours=48)
LATELY_S = 86400.0


@dataclass(frozen=True)
class Finding:
    """The result of one examination."""

    state: str
    """ok, look (somebody should, at some time) or bad (it does not work)."""
    message: str
    to_do: str = ""


def ok(message: str) -> Finding:
    return Finding(OK, message)


@dataclass(frozen=True)
class Line:
    """A finding with its subject, as it is printed."""

    subject: str
    finding: Finding

    @property
    def works(self) -> bool:
        return self.finding.state != BAD

    def __str__(self) -> str:
        to_do = f" -> {self.finding.to_do}" if self.finding.to_do else ""
        return f"{self.finding.state:4}  {self.subject:14}  {self.finding.message}{to_do}"


@dataclass(frozen=True)
class Examined:
    """What the examinations look at."""

    home: Home
    recipe: Recipe
    instance: dg.DagsterInstance

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home, LOCK_TIMEOUT_S)


def examine(home: Home, recipe: Recipe) -> list[Line]:
    """The ten lines; an examination that fails is a line with the error, and the others are made all the same."""
    lines = [Line("disk", examine_disk(home))]
    if not lines[0].works and not os.access(home.path, os.W_OK):
        return lines
    with open_instance(home) as instance:
        examined = Examined(home, recipe, instance)
        for subject, examination in EXAMINATIONS.items():
            try:
                finding = examination(examined)
            except Exception as error:  # whatever is broken, the other lines are to be read
                finding = Finding(BAD, one_line(error)[:200], f"see docs/operations.md, “{subject}”")
            lines.append(Line(subject, finding))
    return lines


def examine_disk(home: Home) -> Finding:
    """Whether the data directory can be written, and has room."""
    existing = home.path if home.path.exists() else home.path.parent
    if not os.access(existing, os.W_OK):
        return Finding(BAD, f"{home.path} cannot be written", "give the user that runs this the right to")
    free = shutil.disk_usage(existing).free / 2**30
    message = f"{free:.1f} GiB free"
    if free >= LITTLE_FREE_GIB:
        return ok(message)
    return Finding(BAD if free < LEAST_FREE_GIB else LOOK, message, "make room before the next run")


def examine_warehouse(examined: Examined) -> Finding:
    if not examined.home.warehouse.exists():
        return Finding(LOOK, "nothing has been made yet", "vps land FILE, then vps run")
    with examined.warehouse.connect(read_only=True) as connection:
        (count,) = connection.execute("select count(*) from duckdb_tables() where schema_name = 'main'").fetchall()[0]
    return ok(f"{count} tables")


def examine_copy(examined: Examined) -> Finding:
    if not examined.home.warehouse.exists():
        return ok("nothing to publish yet")
    if current(examined.home):
        return ok("the analysts' copy is current")
    return Finding(
        LOOK, "the analysts' copy is behind the warehouse", "it is renewed when a run ends; vps run does it now"
    )


def examine_inbox(examined: Examined) -> Finding:
    inbox = examined.home.inbox
    refused = [path for path in inbox.glob("refused/*") if not path.name.endswith(".reason.txt")]
    message = f"{len(dropped(inbox))} files wait, {len(refused)} were refused"
    if refused:
        to_do = f"read {inbox}/refused/*.reason.txt, correct the file, drop it again, delete the refused one"
        return Finding(LOOK, message, to_do)
    return ok(message)


def examine_lineage(examined: Examined) -> Finding:
    if not landed_files(examined.home):
        return Finding(LOOK, "nothing has landed", "vps land FILE, or drop files in the inbox")
    stale = lineage_state(landed_index(examined.home), examined.recipe, examined.warehouse).stale
    if not stale:
        return ok(f"all {len(LINEAGE)} assets are up to date with what has landed")
    names = ", ".join(list(stale)[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
    return Finding(LOOK, f"{names} are behind what has landed", "the sensors make them; vps run does it now")


def examine_champion(examined: Examined) -> Finding:
    row = examined.warehouse.read("champion_model")
    if row is None or row.is_empty():
        return Finding(LOOK, "there is no champion: nothing can be suggested", "vps run")
    model_id, path = row["model_id"][0], row["path"][0]
    if model_id not in examined.home.artefacts.models:
        return Finding(BAD, f"the champion's files, {path}, are gone", "restore them from the backup, or vps rollback")
    return ok(f"{model_id}, {row['decision'][0]} on {row['decided_at'][0]:%Y-%m-%d}")


def examine_suggestions(examined: Examined) -> Finding:
    made = examined.warehouse.made_at().get("price_suggestions")
    if made is None:
        return Finding(LOOK, "no price has been suggested yet", "vps run")
    message = f"suggestions were last made {datetime.fromtimestamp(made):%Y-%m-%d %H:%M}"
    if timedelta(seconds=time.time() - made) < FRESH_WITHIN:
        return ok(message)
    return Finding(LOOK, message, "are listings still coming in? See the inbox")


def examine_runs(examined: Examined) -> Finding:
    instance = examined.instance
    since = datetime.now().astimezone() - timedelta(seconds=LATELY_S)
    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since))
    unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    dead = [run for run in unfinished if not alive(instance, run.run_id)]
    message = f"{len(unfinished) - len(dead)} under way, {len(dead)} dead, {len(failed)} failed in the last day"
    if dead:
        return Finding(LOOK, message, "a daemon or the next vps run frees what the dead hold")
    return Finding(LOOK, message, "read the newest failure in the UI (make ui)") if failed else ok(message)


def examine_checks(examined: Examined) -> Finding:
    keys = list(defs().resolve_asset_graph().asset_check_keys)
    latest = examined.instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    wrong: list[str] = []
    unusual: list[str] = []
    for key, record in latest.items():
        if record.status == AssetCheckExecutionRecordStatus.FAILED and record.event:
            evaluation = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
            blocking = evaluation.severity == dg.AssetCheckSeverity.ERROR
            (wrong if blocking else unusual).append(f"{key.asset_key.to_user_string()}: {key.name}")
    to_do = "see the check in the UI; docs/operations.md says what each means"
    if wrong:
        return Finding(BAD, f"failed: {', '.join(wrong)}", to_do)
    if unusual:
        return Finding(LOOK, f"unusual: {', '.join(unusual)}", to_do)
    return ok(f"{len(latest)} checks passed when they last ran")


def examine_sensors(examined: Examined) -> Finding:
    heartbeats = examined.instance.get_daemon_heartbeats()
    newest = max((beat.timestamp for beat in heartbeats.values()), default=0.0)
    if time.time() - newest > DAEMON_SILENT_S:
        return Finding(
            LOOK, "no Dagster daemon is running: nothing happens by itself", "make ui, or dagster-daemon run"
        )
    stopped = [name for name in SENSOR_NAMES if not is_running(examined.instance, name)]
    if stopped:
        return Finding(LOOK, f"stopped: {', '.join(stopped)}", "start them in the UI, under Automation")
    if problem := alerts.settings_problem():
        return Finding(LOOK, f"nobody hears of failures: {problem}", "see docs/operations.md, What each alert means")
    return ok("the daemon is running, the sensors tick")


EXAMINATIONS: Mapping[str, Callable[[Examined], Finding]] = {
    "warehouse": examine_warehouse,
    "analysts' copy": examine_copy,
    "inbox": examine_inbox,
    "lineage": examine_lineage,
    "champion": examine_champion,
    "suggestions": examine_suggestions,
    "runs": examine_runs,
    "checks": examine_checks,
    "sensors": examine_sensors,
}
"""With the disk, ten lines."""
