"""The operations guide, carried out: its commands, in its order, on a copy of the small marketplace."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psutil
import pytest
from conftest import REPOSITORY, Marketplace, vps
from scenario import listing, listings_file

from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of

GUIDE = (REPOSITORY / "docs" / "operations.md").read_text()
NOT_HERE = ("make install", "pip install", "git pull", "export VPS_HOME=")
"""`make install` is how CI comes to run this, `make test-mlflow` installs the extra; there is nothing to pull; the test
has its own directories."""


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


def with_vps(folder: Path) -> Path:
    """A folder with `vps` in it, of this checkout, wherever the package is installed."""
    folder.mkdir()
    (folder / "vps").write_text(f"#!{sys.executable}\nfrom vps_assets.cli import main\n\nmain()\n")
    (folder / "vps").chmod(0o755)
    return folder


def other_model(home: Home) -> str:
    """A trained model that is not the champion, as if it had been champion before."""
    warehouse = Warehouse(home)
    current = warehouse.read("champion_model")["model_id"][0]
    models = warehouse.read("percentile_pricing_models", "split_kind = 'time'")["model_id"]
    other = next(model_id for model_id in models if model_id != current)
    assert (home.path / home.artefacts.model_path(other)).is_dir()
    history = warehouse.read("champion_history")
    before = history.head(1).with_columns(
        model_id=pl.lit(other), decided_at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)).cast(history.schema["decided_at"])
    )
    made = warehouse.records().made["champion_history"]
    warehouse.replace("champion_history", pl.concat([before, history]), "true", [], made)
    publication_of(warehouse).publish()
    return other


@pytest.mark.slow
def test_every_command_of_the_guide_does_what_it_says(tmp_path: Path, marketplace: Marketplace) -> None:
    home, work = marketplace.copied(tmp_path / "home"), tmp_path / "work"
    champion = Warehouse(home).read("champion_model")["model_id"][0]
    other_model(home)
    listings_file(work, [listing(n, image_path=f"photos/{n}.png") for n in (1, 2)])
    named = [listing(n, category="kites", image_path=f"photos/{n}.png") for n in range(3, 9)]
    listings_file(work, named, "new_category.parquet")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VPS_")} | {
        "VPS_HOME": str(home.path),
        "BACKUP": str(tmp_path / "backup"),
        "PATH": f"{with_vps(tmp_path / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    (home.path / "inbox").mkdir(exist_ok=True)
    output = {}
    for command in commands():
        if command == "export VPS_HOME=/srv/restored":
            environment["VPS_HOME"] = str(tmp_path / "restored")
        if command.startswith(NOT_HERE):
            continue
        line = command.replace("0123456789abcdef", champion)
        ran = subprocess.run(
            ["bash", "-c", line], env=environment, cwd=work, capture_output=True, text=True, timeout=500
        )
        if (command, ran.returncode) != ("vps doctor", 1):
            assert ran.returncode == 0, f"{command}: {ran.stderr[-2000:]}"
        output[command] = ran.stdout
    assert len(output["vps doctor"].splitlines()) == 10
    assert "prices open listings again" in output["vps rollback"]
    assert output["vps forget --seller S001"].startswith("Forgotten: ")
    restored = Warehouse(Home(tmp_path / "restored"))
    assert "S001" not in set(restored.read("clean_listings")["seller_id"])
    assert "kites" in set(restored.read("clean_listings")["category"])


@pytest.mark.slow
def test_a_rollback_prices_open_listings_with_the_champion_before(tmp_path: Path, marketplace: Marketplace) -> None:
    home = marketplace.copied(tmp_path / "home")
    current, other = Warehouse(home).read("champion_model")["model_id"][0], other_model(home)
    ran = vps("rollback", home=home.path)
    assert ran.returncode == 0, ran.stderr
    tables = Warehouse(home)
    assert set(tables.read("price_suggestions")["model_id"]) == {other}
    last = tables.read("champion_history").sort("decided_at").row(-1, named=True)
    assert (last["decision"], last["model_id"], last["instead_of"]) == ("rolled back", other, current)
    again = vps("rollback", home=home.path)
    assert again.returncode == 2
    assert "no champion before it" in again.stderr


def test_a_doctor_prints_ten_lines_and_exits_with_1_where_something_does_not_work(
    tmp_path: Path, marketplace: Marketplace
) -> None:
    ran = vps("doctor", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stdout
    assert len(ran.stdout.splitlines()) == 10
    assert "are up to date" in ran.stdout
    home = marketplace.copied(tmp_path / "home")
    shutil.rmtree(home.path / Warehouse(home).read("champion_model")["path"][0])
    home.warehouse.write_bytes(b"no database")
    sick = vps("doctor", home=home.path)
    assert sick.returncode == 1
    assert len(sick.stdout.splitlines()) == 10
    assert sick.stdout.splitlines()[1].startswith("bad   warehouse")
    assert "Traceback" not in sick.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False


@pytest.mark.slow
def test_make_ui_serves_on_loopback_alone_and_runs_the_sensors(tmp_path: Path, marketplace: Marketplace) -> None:
    home, port = marketplace.copied(tmp_path / "home"), free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VPS_")} | {"PYTHONPATH": str(REPOSITORY)}
    arguments = [f"VPS_HOME={home.path}", f"BIN={Path(sys.executable).parent}", f"PORT={port}"]
    log = (tmp_path / "ui.log").open("w")
    process = subprocess.Popen(
        ["make", "-o", "install", "ui", *arguments], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
    )
    family: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 120
        while not serves(port) or "the daemon is running" not in vps("doctor", home=home.path).stdout:
            assert time.monotonic() < deadline, (tmp_path / "ui.log").read_text()[-2000:]
            time.sleep(2)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        listening = [c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"}
    finally:
        for member in family or [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            member.kill()
        process.wait()
