"""Where a failed run is reported: the daemon's log, a webhook, or an e-mail address.

Secrets (the webhook's address, the e-mail password) are read from the environment and never logged.
"""

import email.policy
import html
import os
import smtplib
import ssl
import time
from collections.abc import Mapping
from email.message import EmailMessage

import dagster as dg
import requests

from vps_assets.errors import Failure, one_line, printable
from vps_assets.lineage.planning import RANGE_TAGS
from vps_assets.orchestration.run import root_message

TARGETS = ("log", "webhook", "email")
EMAIL = {name: f"VPS_ALERTS_EMAIL_{name.upper()}" for name in ("from", "to", "password", "host", "port")}
WEBHOOK = "VPS_ALERTS_WEBHOOK"
PAUSES_S = (0.0, 1.0, 4.0)
"""Before each try to reach a webhook."""
NAME = "alert_on_failure"


class NotDelivered(Failure):
    """An alert reached nobody."""


def alert_of(context: dg.RunFailureSensorContext) -> dict[str, str]:
    """An alert: `text` in one line, and its parts."""
    run = context.dagster_run
    steps = context.get_step_failure_events()
    cause = cause_of(steps[0]) if steps else one_line(context.failure_event.message or "it failed")
    failed = ", ".join(str(event.step_key) for event in steps) or run.job_name
    tags = run.tags
    first, last = (tags.get(name, "") for name in RANGE_TAGS)
    partitions = tags.get("dagster/partition") or (f"{first} to {last}" if first else "")
    what = f"{failed}{f' ({partitions})' if partitions else ''}"
    parts = {"run_id": run.run_id, "job": run.job_name, "steps": failed, "partitions": partitions, "error": cause}
    return {"text": f"{what} failed: {cause} [run {run.run_id}]", **parts}


def as_posted(alert: Mapping[str, str]) -> dict[str, str]:
    """The alert with its text as Slack takes text: `<`, `>` and `&` would begin links, mentions and entities.

    https://api.slack.com/reference/surfaces/formatting#escaping
    """
    return dict(alert) | {"text": html.escape(alert["text"], quote=False)}


def cause_of(event: dg.DagsterEvent) -> str:
    """The first cause of a step's failure, on one line."""
    error = event.step_failure_data.error
    return one_line(root_message(error) if error else event.message or "it failed")[:500]


def post(url: str, alert: Mapping[str, str]) -> None:
    """Post the alert as JSON; `text` is what Slack, Mattermost and Teams show.

    Raises:
        NotDelivered: three tries failed; the message does not have the address, which is a secret.
    """
    problem = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        try:
            answer = requests.post(url, json=as_posted(alert), timeout=10, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            problem = type(error).__name__
        else:
            if 200 <= answer.status_code < 300:  # a redirect, to a login page say, has reached nobody
                return
            problem = f"it answered {answer.status_code}"
    raise NotDelivered(f"the webhook of {WEBHOOK} was not reached: {problem}")


def mail(alert: Mapping[str, str]) -> None:
    """Send the alert as plain text, over TLS.

    Raises:
        NotDelivered: the mail server was not reached, or did not take it.
    """
    sender, receivers, password, host, port = (os.environ[name] for name in EMAIL.values())
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = sender
    message["To"] = ", ".join(address.strip() for address in receivers.split(","))
    message["Subject"] = f"Price suggestions: {alert['job']} failed"
    message.set_content(printable(alert["text"]) + "\n")
    try:
        with smtplib.SMTP_SSL(host, int(port), context=ssl.create_default_context(), timeout=30) as server:
            server.login(sender, password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"the mail server {host} did not take the alert: {type(error).__name__}") from error


def settings_problem() -> str:
    """What is wrong with the settings of alerts; empty if nothing is."""
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

    If the settings are wrong, definitions load all the same, since a command that alerts nobody needs none; each tick
    then fails and names what is missing.
    """

    @dg.run_failure_sensor(
        name=NAME,
        monitor_all_code_locations=True,
        default_status=status,
        description="Reports every run that failed: in the log, and where VPS_ALERTS says (webhook, e-mail).",
    )
    def report(context: dg.RunFailureSensorContext) -> None:
        """Reports every run that failed: started by a sensor, by the UI or by `vps run`."""
        alert = alert_of(context)
        context.log.error(alert["text"])
        if problem := settings_problem():
            raise NotDelivered(problem)
        if os.environ.get("VPS_ALERTS") == "webhook":
            post(os.environ[WEBHOOK], alert)
        if os.environ.get("VPS_ALERTS") == "email":
            mail(alert)

    return report
