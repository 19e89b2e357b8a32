"""Jobs on a Ray cluster of two nodes."""

import time
from pathlib import Path

import pytest
from jobs import doubled, failing, killed_once, where

from vps_ml import compute
from vps_ml.compute import RAY, each, slots
from vps_ml.ops.backbones import train_task_backbones

pytestmark = pytest.mark.scale


def test_on_ray_results_come_in_order_and_what_is_logged_is_seen(ray_address: str) -> None:
    lines: list[str] = []
    assert each(RAY, doubled, [3, 1, 2], lines.append) == [6, 2, 4]
    assert sorted(lines) == ["job 1", "job 2", "job 3"]
    assert each(RAY, doubled, [], lines.append) == []


def test_jobs_are_spread_over_the_hosts(ray_address: str) -> None:
    assert slots(RAY) == 2
    assert len(set(each(RAY, where, [1, 2], print))) == 2


def test_a_job_whose_worker_is_killed_is_done_again(ray_address: str, tmp_path: Path) -> None:
    assert each(RAY, killed_once, [tmp_path / "began"], print) == [1]


def test_the_error_of_one_job_is_raised_and_the_others_are_stopped(ray_address: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="this photo is none"):
        each(RAY, failing, [1, 2], print)
    assert time.monotonic() - began < 30
    assert each(RAY, doubled, [1, 2], print) == [2, 4], "no slot stays taken"


def test_no_cluster_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    if ray.is_initialized():
        ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(compute.NoCluster, match="RAY_ADDRESS"):
        each(RAY, doubled, [1], print)


def test_the_tags_of_the_ops_that_use_an_accelerator_are_kubernetes_configuration() -> None:
    job = pytest.importorskip("dagster_k8s.job")
    config = job.get_user_defined_k8s_config(train_task_backbones.tags)
    assert config.container_config["resources"]["limits"] == {"nvidia.com/gpu": "1"}
