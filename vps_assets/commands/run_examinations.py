"""The examinations of `vps doctor` of Dagster: runs, checks, sensors."""

import time
from datetime import datetime, timedelta

import dagster as dg

from vps_assets.commands.findings import BAD, DAEMON_SILENT_S, LATELY_S, LOOK, Examined, Finding, ok
from vps_assets.definitions import defs
from vps_assets.orchestration import alerts
from vps_assets.orchestration.instance import BROKE_OFF, UNFINISHED, alive
from vps_assets.orchestration.internals import newest_evaluations
from vps_assets.orchestration.sensors import SENSOR_NAMES, is_running
from vps_assets.orchestration.standing import UP_TO_DATE


def examine_runs(examined: Examined) -> Finding:
    instance = examined.instance
    since = datetime.now().astimezone() - timedelta(seconds=LATELY_S)
    ended = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since))
    failed = [run for run in ended if BROKE_OFF not in run.tags]
    unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    dead = [run for run in unfinished if not alive(instance, run.run_id)]
    counts = f"{len(unfinished) - len(dead)} under way, {len(dead)} dead, {len(failed)} failed"
    message = f"{counts}, {len(ended) - len(failed)} broken off in the last day"
    if dead:
        return Finding(LOOK, message, "a daemon or the next vps run frees what the dead hold")
    return Finding(LOOK, message, "read the newest failure in the UI (make ui)") if failed else ok(message)


def examine_checks(examined: Examined) -> Finding:
    keys = list(defs().resolve_asset_graph().asset_check_keys)
    latest = newest_evaluations(examined.instance, [key for key in keys if key.name != UP_TO_DATE])  # told above
    wrong: list[str] = []
    unusual: list[str] = []
    for key, evaluation in latest.items():
        if not evaluation.passed:
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
    if silent := [
        name for name in SENSOR_NAMES if time.time() - newest_tick(examined.instance, name) > DAEMON_SILENT_S
    ]:
        to_do = "start it again (make ui): it may not load the code; its log says why"
        return Finding(LOOK, f"a daemon is running, and these do not tick: {', '.join(silent)}", to_do)
    return ok("the daemon is running, the sensors tick")


def newest_tick(instance: dg.DagsterInstance, sensor: str) -> float:
    """When the sensor was last evaluated, in seconds since 1970; 0 if it never was."""
    states = [state for state in instance.all_instigator_state() if state.name == sensor]
    ticks = [instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1) for state in states]
    return max((tick.timestamp for found in ticks for tick in found), default=0.0)
