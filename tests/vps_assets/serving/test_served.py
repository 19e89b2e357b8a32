"""`vps serve` as an operator runs it: a process of its own, asked over a socket and ended by a signal."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Barrier

import httpx
import pytest
from conftest import REPOSITORY, VPS, Marketplace, vps
from publications import published_again

from vps_assets.errors import UserError
from vps_assets.home import Home


@contextmanager
def served(home: Home) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a service that is ready."""
    env = os.environ | {"VPS_HOME": str(home.path)}
    process = subprocess.Popen(
        [*VPS, "serve", "--port", "0"], env=env, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2].rstrip(",")
        until = time.monotonic() + 90
        while time.monotonic() < until:
            try:
                if httpx.get(f"{address}/v1/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield address, process
    finally:
        process.kill()
        process.wait()


def test_what_waits_is_answered_before_it_ends_and_its_log_is_json(marketplace: Marketplace) -> None:
    photo = next((marketplace.home.path / "demo" / "images").glob("*.jpg")).read_bytes()
    connected = Barrier(9)
    with served(marketplace.home) as (address, process), ThreadPoolExecutor(8) as pool:

        def ask(_: int) -> int:
            with httpx.Client(base_url=address, timeout=30) as client:
                client.get("/v1/health/live")  # the connection is there before the server is told to end
                connected.wait(60)
                form = {"category": "phone"}
                return client.post("/v1/suggestions", data=form, files={"photo": photo}).status_code

        asked = [pool.submit(ask, number) for number in range(8)]
        connected.wait(60)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert [one.result() for one in asked] == [200] * 8
        assert process.wait(20) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert sum(line.get("path") == "/v1/suggestions" for line in lines) == 8
    assert {"at", "level", "message"} <= set(lines[0])


def test_what_an_operator_gets_wrong_is_said_in_one_line(marketplace: Marketplace, tmp_path: Path) -> None:
    for arguments, home, code, said in (
        ((), tmp_path / "nothing", 2, "there is no champion yet"),
        (("--host", "0.0.0.0"), marketplace.home.path, 2, "VPS_API_KEY"),  # noqa: S104
        (("--host", "192.0.2.1"), marketplace.home.path, 2, "VPS_API_KEY"),
    ):
        ran = vps("serve", *arguments, home=home)
        assert (ran.returncode, ran.stderr.count("\n")) == (code, 1), ran.stderr
        assert said in ran.stderr


def test_a_wrong_setting_is_said_before_what_serves_is_loaded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPS_API_KEY", raising=False)
    for module in ("torch", "uvicorn", "vps_assets.serving.snapshot"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "vps_assets.commands.serve", raising=False)
    with pytest.raises(UserError, match="VPS_API_KEY"):
        import_module("vps_assets.commands.serve").serve(home, "192.0.2.1", 0, 60)


@pytest.mark.slow
def test_a_promotion_is_served_within_five_seconds_and_no_request_fails(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    home = marketplace.copied(tmp_path / "home")
    photo = next((home.path / "photos").glob("*/*")).read_bytes()
    with served(home) as (address, _), ThreadPoolExecutor(4) as pool, httpx.Client(timeout=30) as client:
        before = client.get(f"{address}/v1/model").json()["models"]
        ends = time.monotonic() + 60
        other = marketplace.query("""
            select model_id from percentile_pricing_models
            where objective = 'blended' and constraint_value = 0.5 and split_kind = 'time' limit 1
        """)[0][0]

        def ask(_: int) -> list[int]:
            statuses = []
            while time.monotonic() < ends:
                form = {"category": "phone"}
                post = httpx.post(f"{address}/v1/suggestions", data=form, files={"photo": photo}, timeout=30)
                statuses.append(post.status_code)
                time.sleep(0.5)
            return statuses

        asking = [pool.submit(ask, number) for number in range(4)]
        published_again(
            home, f"update champion_model set model_id = '{other}', served_as = null where inputs = 'photo'"
        )
        done = time.monotonic()
        while client.get(f"{address}/v1/model").json()["models"] == before:
            assert time.monotonic() < done + 5
            time.sleep(0.1)
        ends = time.monotonic() + 2
        assert set(sum((one.result() for one in asking), [])) <= {200, 429}


def test_the_readmes_request_gets_an_answer(marketplace: Marketplace, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    readme = (REPOSITORY / "README.md").read_text()
    command = next(line for line in readme.splitlines() if line.startswith("curl "))
    photo = next((marketplace.home.path / "demo" / "images").glob("*.jpg"))
    shutil.copy(photo, tmp_path / "photo.jpg")
    with served(marketplace.home) as (address, _):
        asked = shlex.split(command.replace("http://127.0.0.1:8000", address))
        ran = subprocess.run([*asked, "--silent"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(ran.stdout)["inputs"] == "both"
