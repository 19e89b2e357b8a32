"""Faults of the disk, of runs and of words, met on the command line as their users meet them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from conftest import Marketplace, vps
from episodes import command
from scenario import listing, listings_file, quiet

from vps_assets.assets import checks
from vps_assets.commands.findings import Examined
from vps_assets.commands.run_examinations import examine_runs
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.planning import Request
from vps_assets.orchestration.run import RunFailed, run_lineage
from vps_assets.warehouse.copy_publication import published
from vps_assets.warehouse.database import Warehouse
from vps_ml.backbones.files import tensors
from vps_ml.recipes import demo


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.unlink()  # it may be a link
    path.write_bytes(data)


@pytest.fixture
def damaged(marketplace: Marketplace, tmp_path: Path) -> Home:
    """A copy of the marketplace; one byte of its champion's state, in the middle, is another."""
    home = marketplace.copied(tmp_path / "home")
    state = home.path / Warehouse(home).read("champion_model")["path"][0] / "state.safetensors"
    flipped(state, state.stat().st_size // 2)
    return home


def suggestion(home: Home, marketplace: Marketplace) -> subprocess.CompletedProcess[str]:
    image = next((marketplace.home.demo / "images").glob("*.jpg"))
    return vps("suggest", str(image), "--category", "phone", home=home.path)


@pytest.mark.slow
def test_a_price_is_never_made_of_a_damaged_model_and_a_run_makes_it_again(
    damaged: Home, marketplace: Marketplace
) -> None:
    champion = Warehouse(damaged).read("champion_model")["model_id"][0]
    before = json.loads(suggestion(marketplace.home, marketplace).stdout)
    ran = suggestion(damaged, marketplace)
    assert (ran.returncode, ran.stdout) == (1, "")
    (line,) = ran.stderr.strip().splitlines()
    assert f"models/{champion}/state.safetensors is not what was written" in line
    sick = vps("doctor", home=damaged.path)
    assert "percentile_pricing_models, champion_model are gone or damaged" in sick.stdout
    assert vps("run", home=damaged.path).returncode == 0
    assert json.loads(suggestion(damaged, marketplace).stdout) == before
    assert vps("doctor", home=damaged.path).returncode == 0


@pytest.mark.slow
def test_embeddings_that_are_gone_are_made_again(marketplace: Marketplace, tmp_path: Path) -> None:
    home = marketplace.copied(tmp_path / "home")
    path = Warehouse(home).read("image_embeddings")["path"][0]
    file = home.artefacts.embedding_file(path)
    whole = tensors(file)
    file.unlink()
    ran = vps("run", home=home.path)
    assert ran.returncode == 0, ran.stderr
    assert "image_embeddings" in ran.stderr
    assert tensors(file).keys() == whole.keys()
    assert all(np.array_equal(found, whole[name]) for name, found in tensors(file).items())


@pytest.mark.slow
def test_a_lost_warehouse_is_restored_from_its_copy_by_the_printed_command(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    home = marketplace.copied(tmp_path / "home")
    history = Warehouse(home).read("champion_history")
    home.warehouse.unlink()
    for arguments in (("run",), ("forget", "--seller", "S001")):
        ran = vps(*arguments, home=home.path)
        assert ran.returncode == 1
        (line,) = ran.stderr.strip().splitlines()
        assert f"cp {home.analytics} {home.warehouse}" in line
    doctor = vps("doctor", home=home.path)
    assert doctor.returncode == 1
    assert "bad   warehouse" in doctor.stdout
    shutil.copyfile(home.analytics, home.warehouse)
    assert vps("run", home=home.path).returncode == 0
    assert Warehouse(home).read("champion_history").equals(history)


def rows_in_copy(home: Home, *tables: str) -> list[int]:
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        return [connection.execute(f"select count(*) from {table}").fetchall()[0][0] for table in tables]


@pytest.mark.slow
def test_a_table_that_fails_its_check_is_not_published_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("VPS_HOME", str(home.path))
    part = Request("+clean_listings,+quarantined_listings", force_named=False)
    land([listings_file(tmp_path, [listing(1), listing(2)])], None, home, quiet)
    run_lineage(home, demo(), part, quiet)
    land([listings_file(tmp_path, [listing(3, price=-1.0)], "b.parquet")], None, home, quiet)
    count = checks.count_by_day
    with monkeypatch.context() as patched:
        one_too_many = pl.col("len") + pl.lit(1, pl.UInt32)
        patched.setattr(
            checks,
            "count_by_day",
            lambda rows: count(rows).with_columns(len=one_too_many) if "landing_id" in rows.columns else count(rows),
        )
        with pytest.raises(RunFailed, match="landed_is_clean_plus_quarantined"):
            run_lineage(home, demo(), part, quiet)
    assert published(home)[1] == ["quarantined_listings"]
    assert Warehouse(home).read("quarantined_listings").height == 1
    assert rows_in_copy(home, "raw_listings", "quarantined_listings") == [3, 0]
    assert run_lineage(home, demo(), part, quiet) > 0  # although no landing has changed
    assert published(home)[1] == []
    assert rows_in_copy(home, "raw_listings", "quarantined_listings") == [3, 1]
    assert run_lineage(home, demo(), part, quiet) == 0


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_in_one_line(tmp_path: Path, how: signal.Signals) -> None:
    home = Home(tmp_path / "home")
    land([listings_file(tmp_path, [listing(n) for n in range(20)])], None, home, quiet)
    line, keywords = command(home.path, "run")
    with subprocess.Popen(line, **keywords, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        while "raw_listings" not in (said := process.stderr.readline()):
            assert said, "it ended before it began"
        time.sleep(0.8)  # a step runs by then
        os.killpg(process.pid, how)  # as a terminal does, with all processes that the command has started
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert rest.strip().splitlines()[-1].startswith("vps: interrupted; ")


AS_IT_ENDS = """
from vps_assets.orchestration.event_log import EventLog
store = EventLog.store_event
def interrupted(log, event):
    if event.is_dagster_event and event.dagster_event_type.value == "PIPELINE_SUCCESS":
        os.kill(os.getpid(), signal.SIGINT)
    store(log, event)
EventLog.store_event = interrupted
"""
AS_IT_BEGINS = AS_IT_ENDS.replace("PIPELINE_SUCCESS", "PIPELINE_START")
FAILS = """
from vps_assets.warehouse import unchecked
def fails(*arguments):
    raise ValueError("of itself")
unchecked.add = fails
"""
AFTER_A_FAILURE = AS_IT_ENDS.replace("PIPELINE_SUCCESS", "PIPELINE_FAILURE") + FAILS
IN_A_WRITE = """
from vps_assets.warehouse import unchecked
def interrupted(connection, *arguments):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    connection.execute("select sum(a.range * b.range) from range(10_000_000) a, range(10_000_000) b")
unchecked.add = interrupted
"""


@pytest.mark.parametrize(
    ("moment", "there"),
    [
        (AS_IT_ENDS, 20),
        (IN_A_WRITE, 0),
        pytest.param(AS_IT_BEGINS, 0, marks=pytest.mark.slow),
        pytest.param(AFTER_A_FAILURE, 0, marks=pytest.mark.slow),
    ],
)
def test_an_interruption_ends_the_command_and_is_no_failure(tmp_path: Path, moment: str, there: int) -> None:
    """Dagster forgets a signal after a run's last step; DuckDB raises an error of its own; what failed has failed."""
    home = Home(tmp_path / "home")
    land([listings_file(tmp_path, [listing(n) for n in range(20)])], None, home, quiet)
    script = f"import os, signal, threading\nfrom vps_assets.cli import main\n{moment}\nmain()"
    _, keywords = command(home.path)
    ran = subprocess.run([sys.executable, "-c", script, "run"], **keywords, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 130, ran.stderr
    began, said = ran.stderr.splitlines()  # no other run began
    assert began.startswith("raw_listings")
    assert said.startswith("vps: interrupted; ")
    assert Warehouse(home).good_sales() == there
    with ExitStack() as stack:
        failed = int(moment == AFTER_A_FAILURE)
        assert f"{failed} failed" in examine_runs(Examined(home, demo(), deep=False, open=stack)).message
