"""Servers of the tests at scale, on loopback; a test is left out where what it needs is not installed."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest


def needs(*modules: str) -> None:
    """Leave the test out, saying so, unless these are installed (`make test-scale` installs them)."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make test-scale installs them)")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def ray_cluster(*cores: int) -> Iterator[str]:
    """A cluster with a node for each of these, the first one its head; the environment names it."""
    with ray_to_come() as address:
        for number, count in enumerate(cores):
            port = f"--port={address.rpartition(':')[2]}"
            kind = [f"--address={address}"] if number else ["--head", port, "--include-dashboard=false"]
            start_ray([*kind, f"--num-cpus={count}", "--disable-usage-stats", "--node-ip-address=127.0.0.1"])
        yield address


def start_ray(arguments: Sequence[str], settings: Mapping[str, str] = MappingProxyType({})) -> None:
    """A node of the cluster that `ray_to_come` is for, whose workers have these settings."""
    command = [str(Path(sys.executable).with_name("ray")), "start", *arguments]
    environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("RAY_ADDRESS")  # the head would refuse to be another cluster's
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


@contextlib.contextmanager
def ray_to_come() -> Iterator[str]:
    """The address of a cluster that is yet to be started; the environment names it. It ends with the block."""
    needs("ray")
    port = free_port()
    folder = Path("/tmp") / f"vps-ray-{port}"  # noqa: S108  (sockets' paths must be short)
    folder.mkdir(exist_ok=True)
    address = f"127.0.0.1:{port}"
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
