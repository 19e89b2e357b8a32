"""What an operator sees of runs: progress, what is made again, and what a killed one leaves."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LAST_DATE, REPOSITORY, Marketplace, vps

from vps_assets.home import Home
from vps_assets.orchestration.instance import free_dead_runs, open_instance


def test_progress_is_shown_all_along(marketplace: Marketplace) -> None:
    for words in ("photos drawn", "photos looked at", "epoch 8 of 8", "listings embedded", "trained", "open listings"):
        assert words in marketplace.progress


def test_a_second_run_has_nothing_to_do(marketplace: Marketplace) -> None:
    ran = vps("run", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Nothing had to be done")


def test_a_second_demo_does_not_take_back_what_has_landed_since_the_first(
    marketplace: Marketplace,
) -> None:
    before = sorted(marketplace.home.landing.iterdir())
    ran = vps("demo", "--listings", "500", "--last-date", LAST_DATE.isoformat(), home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("listings.parquet: landed before; what has landed since stays\nNothing had to be done")
    assert sorted(marketplace.home.landing.iterdir()) == before


def test_what_the_command_line_ran_is_in_the_dagster_instance_with_its_logs(marketplace: Marketplace) -> None:
    with open_instance(marketplace.home) as instance:
        runs = instance.get_runs()
        assert {run.status.value for run in runs} == {"SUCCESS"}
        logs = [log.user_message for run in runs for log in instance.all_logs(run.run_id)]
    assert any("epoch 8 of 8" in message for message in logs)


@pytest.mark.slow
def test_one_date_can_be_made_again_by_name(marketplace: Marketplace) -> None:
    before = marketplace.frame("clean_listings").height
    ran = vps(
        "run", "--select", "clean_listings", "--from", "2024-05-03", "--to", "2024-05-03", home=marketplace.home.path
    )
    assert ran.returncode == 0, ran.stderr
    assert "clean_listings, 2024-05-03 to 2024-05-03" in ran.stderr
    assert marketplace.frame("clean_listings").height == before


def test_no_checkpoint_is_left_of_a_training_that_ended(marketplace: Marketplace) -> None:
    assert list(marketplace.home.artefacts.models.folder.glob(".*")) == []


@pytest.mark.slow
def test_more_seeds_are_trained_on_request_and_reported_with_their_standard_error(marketplace: Marketplace) -> None:
    ran = vps("run", "--select", "ablation_pricing_models+", "--seeds", "2", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    found = marketplace.query(
        "select distinct features, warm_up, seed from ablation_reports where objective = 'paper' order by all"
    )
    expected = [("MSTFE", False), ("MSTFE", True), ("STFE", True)]
    assert found == [(*variant, seed) for variant in expected for seed in (0, 1)]
    page = Path(vps("report", home=marketplace.home.path).stdout.strip()).read_text()
    assert re.search(r"MSTFE beats STFE[^<]*by AURC</td><td>[-+][\d.]+ \[[^<]*2 seeds", page)


@pytest.mark.slow
def test_the_ablation_table_is_the_same_when_all_of_it_is_trained_again(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(marketplace.home.path, again)
    backbones = {path for (path,) in marketplace.query("select path from task_backbones where path is not null")}
    for folder in (again / "models").iterdir():
        if f"models/{folder.name}" not in backbones:
            shutil.rmtree(folder)
    models = ",".join(f"{kind}_pricing_models" for kind in ("percentile", "threshold", "baseline", "words"))
    ran = vps("run", "--select", f"{models},ablation_pricing_models+", home=again)
    assert ran.returncode == 0, ran.stderr
    sql = "select * exclude (run_id, evaluated_at) from ablation_reports where seed = 0 order by all"
    assert Marketplace(Home(again), "", "").query(sql) == marketplace.query(sql)


@pytest.mark.slow
def test_a_run_that_was_killed_is_failed_and_its_slots_are_freed(marketplace: Marketplace) -> None:
    """A run holds the writer's slot and dies by SIGKILL; the next `vps run` frees it before it starts."""
    code = """
import os, signal
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.lineage.planning import Plan
from vps_assets.orchestration.run import execute
from vps_assets.warehouse.database import Warehouse
Warehouse.replace = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
home = Home.from_environment()
with open_instance(home) as instance:
    execute(home, instance, Plan(("champion_history",)))
"""
    env = os.environ | {"VPS_HOME": str(marketplace.home.path)}
    killed = subprocess.run([sys.executable, "-c", code], env=env, cwd=REPOSITORY, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    with open_instance(marketplace.home) as instance:
        info = instance.event_log_storage.get_concurrency_info("duckdb_writer")
        assert info.active_slot_count == 1
        assert len(free_dead_runs(instance)) == 1
        assert instance.event_log_storage.get_concurrency_info("duckdb_writer").active_slot_count == 0
    assert vps("run", "--select", "champion_history", home=marketplace.home.path).returncode == 0
