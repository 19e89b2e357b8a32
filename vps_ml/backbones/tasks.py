"""The tasks that backbones are trained for: the one place where a task is added."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class LabelKind(Enum):
    """What a task's label is, and so how it is learnt (`vps_ml.backbones.labels.LEARNING`)."""

    SINGLE = "one label per listing"
    MULTIPLE = "a list of labels per listing"
    VALUE = "a number"


@dataclass(frozen=True)
class Task:
    """What a backbone predicts from the photo."""

    label: str
    """Column of `clean_listings`."""
    kind: LabelKind


TASKS: Mapping[str, Task] = {
    "category": Task("category", LabelKind.SINGLE),
    "brand": Task("brand", LabelKind.SINGLE),
    "attribute": Task("attributes", LabelKind.MULTIPLE),
    "specification": Task("specifications", LabelKind.MULTIPLE),
    "price": Task("log_price", LabelKind.VALUE),
}
"""Name, which is also the partition of `task_backbones`, -> task; features stand side by side in this order."""

VISUAL_TASKS: Mapping[str, tuple[str, ...]] = {
    "MSTFE": tuple(name for name in TASKS if name != "price"),
    "STFE": ("price",),
}
"""Which tasks' features a price model sees (the paper, section 3.2)."""


def task_named(name: str) -> Task:
    """The task called `name`.

    Raises:
        ValueError: no task has this name.
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[name]
