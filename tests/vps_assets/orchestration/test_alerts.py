"""Alerts to real servers on loopback: a webhook over HTTP, e-mail over TLS."""

import datetime as dt
import email
import email.policy
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vps_assets.orchestration import alerts

RUNNING = dg.DefaultSensorStatus.RUNNING
SECRET = "s3cr3t-path"


@dg.asset
def clean_listings() -> None:
    try:
        raise OSError(28, "No space left on device: Möbel <b>№ 1</b> \udcff & <!channel>")
    except OSError as error:
        raise dg.Failure("the warehouse could not be written") from error


class Webhook(HTTPServer):
    """Keeps what is posted to it; answers with each of `answers` once, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == 200:
            self.server.received.append((self.path, json.loads(body)))
        self.send_response(answer)
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("VPS_ALERTS", "webhook")
    monkeypatch.setenv("VPS_ALERTS_WEBHOOK", server.url)
    monkeypatch.setattr(alerts, "PAUSES_S", (0.0, 0.01, 0.01))
    yield server
    server.shutdown()
    server.server_close()


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> tuple[str, str | None]:
    """(what the tick says went wrong, the cursor after it)."""
    with dg.build_sensor_context(instance, cursor=cursor, sensor_name=alerts.NAME) as context:
        data = sensor.evaluate_tick(context)
    reaction = data.dagster_run_reactions[0] if data.dagster_run_reactions else None
    wrong = reaction.error.to_string() if reaction and reaction.error else ""
    return wrong, data.cursor


def alert_of_a_failed_run() -> str:
    """Fail a run and let the sensor tick; what went wrong with the alert."""
    sensor = alerts.on_failure(RUNNING)
    with dg.instance_for_test() as instance:
        _, cursor = tick(sensor, instance, None)
        assert not dg.materialize([clean_listings], instance=instance, raise_on_error=False).success
        return tick(sensor, instance, cursor)[0]


def test_a_failed_run_is_posted_with_its_asset_and_first_cause(webhook: Webhook) -> None:
    assert alert_of_a_failed_run() == ""
    ((path, alert),) = webhook.received
    assert path == f"/{SECRET}"
    assert alert["steps"] == "clean_listings"
    assert alert["text"].startswith("clean_listings failed: ")
    assert "No space left on device" in alert["error"]
    assert alert["run_id"] in alert["text"]
    assert "&lt;b&gt;№ 1&lt;/b&gt;" in alert["text"]
    assert "&amp; &lt;!channel&gt;" in alert["text"]


def test_a_webhook_that_fails_twice_is_tried_a_third_time(webhook: Webhook) -> None:
    webhook.answers = [500, 503]
    assert alert_of_a_failed_run() == ""
    assert len(webhook.received) == 1


def test_an_alert_that_reached_nobody_fails_its_tick_and_keeps_the_address_secret(
    webhook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook.answers = [500] * 3
    wrong = alert_of_a_failed_run()
    assert "it answered 500" in wrong
    assert SECRET not in wrong + "".join(capfd.readouterr())


def test_an_address_that_is_not_there_keeps_the_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "PAUSES_S", (0.0,))
    with pytest.raises(alerts.NotDelivered) as raised:
        alerts.post(f"http://127.0.0.1:9/{SECRET}", {"text": "x"})
    assert SECRET not in str(raised.value)


def test_by_default_the_log_has_the_alert(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    assert alert_of_a_failed_run() == ""
    assert "clean_listings failed: " in caplog.text + "".join(capfd.readouterr())


def certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + signed.public_bytes(pem))
    return folder / "server.pem"


class Mailbox:
    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
        self.received.append(envelope.content)  # type: ignore[attr-defined]
        return "250 OK"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the whole connection is TLS
def test_an_e_mail_goes_out_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    mailbox = Mailbox()

    def authenticated(*login: object) -> AuthResult:
        return AuthResult(success=login[-1].password == b"hush")  # type: ignore[attr-defined]

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(
        mailbox,
        "localhost",
        port,
        ssl_context=context,
        authenticator=authenticated,
        auth_required=True,
        auth_require_tls=False,
    )
    server.start()
    settings = {"from": "vps@example.org", "to": "one@example.org, two@example.org", "password": "hush"}
    for name, value in {**settings, "host": "localhost", "port": str(port)}.items():
        monkeypatch.setenv(alerts.EMAIL[name], value)
    monkeypatch.setenv("VPS_ALERTS", "email")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    try:
        assert alert_of_a_failed_run() == ""
    finally:
        server.stop()
    (mail,) = mailbox.received
    message = email.message_from_bytes(mail, policy=email.policy.default)
    assert message.get_content_type() == "text/plain"
    assert message["To"] == "one@example.org, two@example.org"
    assert "No space left on device: Möbel <b>№ 1</b> \\udcff" in message.get_content()
    assert b"hush" not in mail


@pytest.mark.parametrize(
    ("target", "words"), [("pager", "log, webhook, email"), ("webhook", alerts.WEBHOOK), ("email", "PASSWORD")]
)
def test_a_target_that_is_not_set_up_fails_its_ticks_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    monkeypatch.setenv("VPS_ALERTS", target)
    assert words in alerts.settings_problem()
    assert words in alert_of_a_failed_run()


def test_a_webhook_that_leads_elsewhere_has_reached_nobody(webhook: Webhook) -> None:
    webhook.answers = [302] * 3
    assert "it answered 302" in alert_of_a_failed_run()
