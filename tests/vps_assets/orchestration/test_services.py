"""Which model each service answers with, as Dagster shows it."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.services import ASSET, asked, services, services_sensor
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.settings import Settings

ANSWER = {"models": {"photo": "m1"}, "data_until": "2024-05-31", "loaded_at": "now", "failure": None}


class Told(BaseHTTPRequestHandler):
    """A service's `/v1/model`."""

    body = json.dumps(ANSWER)
    keys: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.keys.append(self.headers["Authorization"])
        self.send_response(200 if self.path == "/v1/model" else 404)
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(Told, "body", json.dumps(ANSWER))
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("VPS_SERVICES", f"{address}/")
    yield address
    server.shutdown()
    server.server_close()


def tick(home: Home, cursor: str | None = None) -> SensorExecutionData:
    sensor = services_sensor(dg.DefaultSensorStatus.RUNNING)
    settings = Settings(data_directory=str(home.path), recipe_name="demo")
    with (
        open_instance(home) as instance,
        dg.build_sensor_context(instance, cursor, sensor_name=sensor.name, resources={"settings": settings}) as context,
    ):
        return sensor.evaluate_tick(context)


def promoted(home: Home, model_id: str) -> None:
    row = {"inputs": ["photo"], "model_id": ["judged"], "served_as": [model_id]}
    Warehouse(home).replace("champion_model", pl.DataFrame(row), "true", [], {})


def test_what_a_service_answers_with_is_noted_once_and_again_when_it_changes(
    home: Home, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(home, "m1")
    first = tick(home)
    (seen,) = first.asset_events
    assert seen.asset_key == dg.AssetKey(ASSET)
    told = seen.metadata[address].value
    assert told == {"models": {"photo": "m1"}, "data_until": "2024-05-31", "failure": None}
    assert seen.metadata["not with the champions"].value == "none"
    again = tick(home, first.cursor)
    assert not again.asset_events
    promoted(home, "m2")
    (behind,) = tick(home, again.cursor).asset_events
    assert behind.metadata["not with the champions"].value == address
    monkeypatch.setattr(Told, "body", json.dumps(ANSWER | {"models": {"photo": "m2"}}))
    (caught_up,) = tick(home, again.cursor).asset_events
    assert caught_up.metadata["not with the champions"].value == "none"


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"models": 3, "data_until": null, "failure": null}', "<html>"])
def test_a_service_that_answers_something_else_is_not_reached(
    home: Home, address: str, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(Told, "body", body)
    (seen,) = tick(home).asset_events
    assert seen.metadata["not reached"].value == address


def test_a_service_that_is_down_is_not_reached(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_SERVICES", "http://127.0.0.1:9")
    (seen,) = tick(home).asset_events
    assert seen.metadata["not reached"].value == "http://127.0.0.1:9"
    assert seen.metadata["services"].value == 1


def test_the_key_is_shown_to_a_service(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_API_KEY", "secret")
    assert "models" in asked(address)
    assert Told.keys[-1] == "Bearer secret"


def test_the_key_is_not_shown_to_whom_a_service_sends_us_nor_to_a_proxy(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sends(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{address}/v1/model")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    monkeypatch.setenv("VPS_API_KEY", "secret")
    monkeypatch.setenv("http_proxy", address)
    Told.keys.clear()
    server = HTTPServer(("127.0.0.1", 0), Sends)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    assert "302" in asked(f"http://127.0.0.1:{server.server_port}")["unreachable"]
    server.shutdown()
    server.server_close()
    assert Told.keys == []


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "sent", [b"garbage\r\n", OK + b"X: y\r\n" * 200, OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_a_server_that_speaks_no_http_is_not_reached_and_others_are(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            connection.recv(1000)
            connection.sendall(sent)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert "unreachable" in asked(f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join(10)


def test_without_services_nothing_is_asked(home: Home) -> None:
    found = tick(home)
    assert "VPS_SERVICES names no service" in (found.skip_message or "")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "127.0.0.1:8000", "ftp://a", "http://u:pw@h", "http://"])
def test_what_is_no_address_of_http_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("VPS_SERVICES", address)
    with pytest.raises(WrongSetting, match="VPS_SERVICES"):
        services()
