"""Work that is divided into jobs."""

import pytest
from jobs import doubled

from vps_ml.compute import HERE, each, parts, slots


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
