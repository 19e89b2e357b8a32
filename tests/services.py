"""The HTTP service, asked in this process."""

import time

from starlette.testclient import TestClient

from vps_assets.home import Home
from vps_assets.serving.app import create_app
from vps_assets.serving.gate import Gate
from vps_assets.serving.observed import Metrics
from vps_assets.serving.renewal import Renewal

HOSTS = frozenset({"127.0.0.1"})
MANY = 1_000_000


def client_of(home: Home, requests_a_minute: int = MANY, key: str | None = None) -> TestClient:
    metrics, renewal = Metrics(), Renewal(home)
    app = Gate(create_app(renewal, metrics, requests_a_minute), metrics, HOSTS, key)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def once_ready(client: TestClient) -> TestClient:
    until = time.monotonic() + 60
    while client.get("/v1/health/ready").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.05)
    return client
