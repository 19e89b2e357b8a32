"""Who hears of a run that failed: the daemon's log, a webhook, or an e-mail address.

What is secret (the webhook's address, the e-mail password) is read from the environment and never logged.
"""

import os
import time
from collections.abc import Mapping

import dagster as dg
import requests

from vps_assets.orchestration.run import root_message

TARGETS = ("log", "webhook", "email")
EMAIL = {name: f"VPS_ALERTS_EMAIL_{name.upper()}" for name in ("from", "to", "password", "host", "port")}
WEBHOOK = "VPS_ALERTS_WEBHOOK"
PAUSES_S = (0.0, 1.0, 4.0)
"""Before each try to reach a webhook."""
NAME = "alert_on_failure"


class NotDelivered(RuntimeError):
    """An alert reached nobody."""


def told(context: dg.RunFailureSensorContext) -> dict[str, str]:
    """What an alert says: `text` in one line, and its parts."""
    run = context.dagster_run
    steps = context.get_step_failure_events()
    why = cause_of(steps[0]) if steps else " ".join((context.failure_event.message or "it failed").split())
    failed = ", ".join(str(event.step_key) for event in steps) or run.job_name
    tags = run.tags
    first, last = (tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end"))
    partitions = tags.get("dagster/partition") or (f"{first} to {last}" if first else "")
    what = f"{failed}{f' ({partitions})' if partitions else ''}"
    parts = {"run_id": run.run_id, "job": run.job_name, "steps": failed, "partitions": partitions, "error": why}
    return {"text": f"{what} failed: {why} [run {run.run_id}]", **parts}


def cause_of(event: dg.DagsterEvent) -> str:
    """The first cause of a step's failure, on one line."""
    error = event.step_failure_data.error
    return " ".join((root_message(error) if error else event.message or "it failed").split())[:500]


def post(url: str, alert: Mapping[str, str]) -> None:
    """Post the alert as JSON; `text` is what Slack, Mattermost and Teams show.

    Raises:
        NotDelivered: three tries failed; the message does not tell the address, which is a secret.
    """
    why = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        try:
            answer = requests.post(url, json=dict(alert), timeout=10, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            why = type(error).__name__
        else:
            if 200 <= answer.status_code < 300:  # a login page that it leads to has told nobody
                return
            why = f"it answered {answer.status_code}"
    raise NotDelivered(f"the webhook of {WEBHOOK} was not reached: {why}")


def problem() -> str:
    """What is wrong with the settings of alerts; empty where nothing is."""
    target = os.environ.get("VPS_ALERTS") or "log"
    if target not in TARGETS:
        return f"VPS_ALERTS: there is no {target!r}; there are {', '.join(TARGETS)}"
    needed = {"log": [], "webhook": [WEBHOOK], "email": list(EMAIL.values())}[target]
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        return f"VPS_ALERTS={target} needs {', '.join(missing)}"
    if target == "email" and not os.environ[EMAIL["port"]].isdigit():
        return f"{EMAIL['port']} is not a number"
    return ""


def on_failure(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor for the target that `VPS_ALERTS` names: `log` (default), `webhook` or `email`.

    Where the settings are wrong, definitions load all the same, for a command that alerts nobody needs none; each tick
    then fails and says what is missing.
    """
    if os.environ.get("VPS_ALERTS") == "email" and not problem():
        return by_email(status)

    @dg.run_failure_sensor(name=NAME, monitor_all_code_locations=True, default_status=status)
    def alert(context: dg.RunFailureSensorContext) -> None:
        """Tells of every run that failed: started by a sensor, by the UI or by `vps run`."""
        said = told(context)
        context.log.error(said["text"])
        if wrong := problem():
            raise NotDelivered(wrong)
        if os.environ.get("VPS_ALERTS") == "webhook":
            post(os.environ[WEBHOOK], said)

    return alert


def by_email(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """Dagster's own e-mail sensor, over TLS."""
    sender, receivers, password, host, port = (os.environ[name] for name in EMAIL.values())
    return dg.make_email_on_run_failure_sensor(
        name=NAME,
        email_from=sender,
        email_to=[address.strip() for address in receivers.split(",")],
        email_password=password,
        smtp_host=host,
        smtp_port=int(port),
        email_body_fn=lambda context: told(context)["text"],
        email_subject_fn=lambda context: f"Price suggestions: {context.dagster_run.job_name} failed",
        monitor_all_code_locations=True,
        default_status=status,
    )
