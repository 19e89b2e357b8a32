"""Work that is divided into jobs."""

from types import SimpleNamespace

import pytest
from jobs import doubled

from vps_ml.compute import HERE, demand, each, parts, slots


def test_in_this_process_jobs_come_one_after_the_other() -> None:
    lines: list[str] = []
    assert each(HERE, doubled, [1, 2], lines.append) == [2, 4]
    assert lines == ["job 1", "job 2"] and slots(HERE) == 1


@pytest.mark.parametrize(("items", "count"), [(0, 2), (1, 3), (7, 2), (7, 3), (7, 7), (7, 20)])
def test_parts_are_nearly_equal_keep_the_order_and_are_never_empty(items: int, count: int) -> None:
    made = parts(list(range(items)), count)
    assert [one for part in made for one in part] == list(range(items))
    assert len(made) == min(items, count)
    assert not made or max(map(len, made)) - min(map(len, made)) <= 1


@pytest.mark.parametrize(
    ("accelerators", "of_one", "of_whole_hosts"),
    [
        ([2, 2], {"num_gpus": 1}, {"num_gpus": 2}),
        ([0, 8, 4], {"num_gpus": 1}, {"num_gpus": 4}),
        ([0, 0], {"num_cpus": 3}, {"num_cpus": 3}),
    ],
)
def test_a_job_takes_an_accelerator_or_those_of_a_host(
    accelerators: list[int], of_one: dict[str, int], of_whole_hosts: dict[str, int]
) -> None:
    nodes = [{"Alive": True, "Resources": {"GPU": float(count)} if count else {}} for count in accelerators]
    total = {"CPU": 3.0 * len(nodes)} | ({"GPU": float(sum(accelerators))} if any(accelerators) else {})
    ray = SimpleNamespace(nodes=lambda: nodes, cluster_resources=lambda: total)
    assert demand(ray, whole_hosts=False) == of_one
    assert demand(ray, whole_hosts=True) == of_whole_hosts
