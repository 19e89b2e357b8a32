"""Tasks by name: what one line of `TASKS` brings, and what a task in no list comes to."""

import pytest

from vps_ml.backbones.labels import LEARNING, distinct_labels, learning_of
from vps_ml.backbones.tasks import TASKS, VISUAL_TASKS, LabelKind, Task, task_named


def test_a_task_that_is_in_no_list_is_refused_with_those_there_are() -> None:
    """It used to be trained with the squared error on one-hot labels."""
    for use in (
        lambda: task_named("material"),
        lambda: learning_of("material"),
        lambda: distinct_labels("material", []),
    ):
        with pytest.raises(ValueError, match="'material'; the tasks are category, brand"):
            use()


def test_every_kind_of_label_can_be_learnt() -> None:
    assert set(LEARNING) == set(LabelKind)


def test_one_line_makes_a_task_that_is_learnt_as_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "material", Task("materials", LabelKind.MULTIPLE))
    targets = learning_of("material").targets([["oak", "steel"]] * 5 + [["oak"]])
    assert targets.names == ("oak", "steel")
    assert targets.values[-1].tolist() == [1.0, 0.0]
    assert distinct_labels("material", [["oak"]] * 5) == 1


def test_models_see_every_task_but_the_price_or_the_price_alone() -> None:
    assert VISUAL_TASKS["MSTFE"] == ("category", "brand", "attribute", "specification")
    assert VISUAL_TASKS["STFE"] == ("price",)


def test_price_alone_is_the_single_tasks_features() -> None:
    """Whatever other tasks there are, numbers among them."""
    assert VISUAL_TASKS["STFE"] == ("price",)
    assert set(VISUAL_TASKS["MSTFE"]) == TASKS.keys() - {"price"}
