"""A task's labels as numbers, and the loss and score for each kind of label.

Axes: N photo, B batch, L label.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from vps_ml.backbones.tasks import LabelKind, task_named

RAREST_LABEL = 5
"""A label on fewer training photos than this is not a target: it teaches nothing."""


@dataclass(frozen=True)
class Targets:
    """One task's labels as numbers; rows without the label are masked."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "photo label"]
    """Single label: one column, the label's number. Several: 0 or 1 per label. A number: one column, standardised."""
    present: np.ndarray
    """True where the photo has the label; the others are left out of the loss, not given a fake class."""
    centre: float = 0.0
    scale: float = 1.0


def single_labels(labels: Sequence) -> Targets:
    """Each photo's label as its number among the common labels."""
    names, numbers, present = common_labels([[] if label is None else [label] for label in labels])
    return Targets(names, np.array([[row[0] if row else 0] for row in numbers], dtype=np.float64), present)


def several_labels(labels: Sequence) -> Targets:
    """0 or 1 for each common label."""
    names, numbers, present = common_labels([[] if label is None else list(label) for label in labels])
    values = np.zeros((len(numbers), len(names)))
    for row, indices in zip(values, numbers, strict=True):
        row[indices] = 1
    return Targets(names, values, present)


def common_labels(labels: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], list[list[int]], np.ndarray]:
    """(names of the labels that are not rare, their numbers for each photo, whether the photo has any)."""
    counts = Counter(label for row in labels for label in set(row))
    names = tuple(sorted(label for label, count in counts.items() if count >= RAREST_LABEL))
    number = {label: i for i, label in enumerate(names)}
    numbers = [[number[label] for label in row if label in number] for row in labels]
    return names, numbers, np.array([bool(row) for row in numbers], dtype=bool)


def standardised_values(labels: Sequence) -> Targets:
    """Numbers less their mean, in standard deviations."""
    values = np.array([np.nan if value is None else value for value in labels], dtype=np.float64)
    present = np.isfinite(values)
    centre, scale = (values[present].mean(), values[present].std()) if present.any() else (0.0, 1.0)
    standard = np.where(present, (values - centre) / max(scale, 1e-9), 0.0)[:, None]
    return Targets(("value",), standard, present, float(centre), float(scale))


def single_label_loss(output: Float[Tensor, "B L"], target: Float[Tensor, "B 1"]) -> Float[Tensor, ""]:
    """Cross-entropy."""
    return cross_entropy(output, target[:, 0].long())


def several_labels_loss(output: Float[Tensor, "B L"], target: Float[Tensor, "B L"]) -> Float[Tensor, ""]:
    """Binary cross-entropy, summed over labels and averaged over photos."""
    return binary_cross_entropy_with_logits(output, target, reduction="sum") / output.shape[0]


def accuracy(output: Float[Tensor, "N L"], target: Float[Tensor, "N 1"]) -> float:
    """Share of photos whose most likely label is theirs."""
    return float((output.argmax(1) == target[:, 0]).float().mean())


def recall_at_k(output: Float[Tensor, "N L"], target: Float[Tensor, "N L"]) -> float:
    """Mean share of a photo's k labels that are among its k most likely ones."""
    recalls = [float(t[o.topk(int(t.sum())).indices].mean()) for o, t in zip(output, target, strict=True)]
    return float(np.mean(recalls))


def closeness(output: Float[Tensor, "N 1"], target: Float[Tensor, "N 1"]) -> float:
    """One minus the mean absolute error, in standard deviations of the training values."""
    return 1 - float((output - target).abs().mean())


@dataclass(frozen=True)
class Learning:
    """How a kind of label is learnt."""

    targets: Callable[[Sequence], Targets]
    """From raw labels; a missing one is None."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """(output, target) of a batch."""
    score: Callable[[Tensor, Tensor], float]
    """(output, target) of held-out photos -> 0 to 1."""


LEARNING: Mapping[LabelKind, Learning] = {
    LabelKind.SINGLE: Learning(single_labels, single_label_loss, accuracy),
    LabelKind.MULTIPLE: Learning(several_labels, several_labels_loss, recall_at_k),
    LabelKind.VALUE: Learning(standardised_values, mse_loss, closeness),
}


def learning_of(task: str) -> Learning:
    """How the task is learnt.

    Raises:
        ValueError: no task has this name.
    """
    return LEARNING[task_named(task).kind]


def distinct_labels(task: str, labels: Sequence) -> int:
    """How many different labels the task has that are common enough to learn; of numbers, all.

    Raises:
        ValueError: no task has this name.
    """
    if task_named(task).kind is LabelKind.VALUE:
        return len({value for value in labels if value is not None})
    return len(learning_of(task).targets(labels).names)
