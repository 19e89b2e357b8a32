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
TEXT, LABELS, WORDS = "TEXT", "LABELS", "WORDS"
"""What the seller says: title and description; attributes and specifications, where category paths stand; all of that,
with brand and condition."""
BESIDE_A_PHOTO = (TEXT, f"{TEXT}+{LABELS}", WORDS)
"""From less to more; the first two show what each thing is worth, and price nothing."""
VISUAL_TASKS: Mapping[str, tuple[str, ...]] = {
    **OF_PHOTOS,
    WORDS: (),
    **{f"{photo}+{words}": tasks for photo, tasks in OF_PHOTOS.items() for words in BESIDE_A_PHOTO},
}
"""Features -> the networks whose features a price model sees: of a photo, of words alone, or of a photo and words."""


def words_in(features: str) -> frozenset[str]:
    """What a price model of these features reads of what the seller says: `TEXT`, `LABELS`, `WORDS` (the rest)."""
    parts = frozenset(features.split("+"))
    return frozenset((TEXT, LABELS, WORDS)) if WORDS in parts else parts & {TEXT, LABELS}


def sees_words(features: str) -> bool:
    """Whether a price model of these features reads anything of what the seller says."""
    return bool(words_in(features))


def with_words(features: str, words: str = WORDS) -> str:
    """These features of a photo, and words."""
    return f"{features}+{words}"


INPUTS = ("photo", "words", "both")
"""What a listing may have to be priced by: each has a model of its own."""


def inputs_of(features: str) -> str:
    """What a price model of these features takes: one of `INPUTS`."""
    if not sees_words(features):
        return "photo"
    return "words" if features == WORDS else "both"


def can_serve(features: str) -> bool:
    """Whether a model of these features may price: not one that is there to show what a part of the words is worth."""
    return words_in(features) in (frozenset(), words_in(WORDS))


def task_named(name: str) -> Task:
    """The task called `name`.

    Raises:
        ValueError: no task has this name.
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; the tasks are {', '.join(TASKS)}")
    return TASKS[name]
