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

UNTUNED = "untuned"
"""The network as it starts, tuned to no task, where it does not start at random: tuning to labels loses something that
prices need (docs/experiments.md), and its features beside the tasks' keep it."""
NETWORKS = (*TASKS, UNTUNED)
"""The partitions of `task_backbones`."""

LABELLED = tuple(name for name in TASKS if name != "price")
OF_PHOTOS: Mapping[str, tuple[str, ...]] = {
    "MSTFE": LABELLED,
    "STFE": ("price",),
    "UNTUNED": (UNTUNED,),
    "MSTFE+UNTUNED": (*LABELLED, UNTUNED),
}
"""Features of a photo -> the networks: the paper's two (section 3.2), and with the start."""
WORDS = "WORDS"
"""What the seller says: title, description, brand, attributes, specifications, condition."""
VISUAL_TASKS: Mapping[str, tuple[str, ...]] = {
    **OF_PHOTOS,
    WORDS: (),
    **{f"{photo}+{WORDS}": tasks for photo, tasks in OF_PHOTOS.items()},
}
"""Features -> the networks whose features a price model sees: of a photo, of words alone, or of a photo and words."""


def sees_words(features: str) -> bool:
    """Whether a price model of these features reads what the seller says."""
    return WORDS in features.split("+")


def with_words(features: str) -> str:
    """These features of a photo, and words."""
    return f"{features}+{WORDS}"


INPUTS = ("photo", "words", "both")
"""What a listing may have to be priced by: each has a model of its own."""


def inputs_of(features: str) -> str:
    """What a price model of these features takes: one of `INPUTS`."""
    if not sees_words(features):
        return "photo"
    return "words" if features == WORDS else "both"


def task_named(name: str) -> Task:
    """The task called `name`.

    Raises:
        ValueError: no task has this name.
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[name]
