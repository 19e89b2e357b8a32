"""The loop in which every network is trained: phases, early stopping, checkpoints."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vps_ml.checkpoints import Checkpoint, Stateful
from vps_ml.data_parallel import ALONE, Rank
from vps_ml.recorded_steps import RecordedSteps
from vps_ml.threads import WORTH_SHARING, check_wanted, one_thread


@dataclass(frozen=True)
class Phase:
    """Some epochs, at one learning rate unless the loop has a schedule."""

    epochs: int
    learning_rate: float
    warming_up: bool = False
    """Stage 1 of the paper's training (section 3.4)."""


MOST_SHOWN = 200
"""Epochs of a curve that a card has."""


@dataclass(frozen=True)
class Curve:
    """Losses by epoch."""

    training: list[float]
    held_out: list[float]
    """Of the validation rows; as many as of training, or none where early stopping did not look at each."""

    def described(self) -> dict[str, Any]:
        """As a card has it: of very many epochs every `step`-th, the first among them."""
        step = max(1, -(-len(self.training) // MOST_SHOWN))
        return {"step": step, "training": self.training[::step], "held_out": self.held_out[::step]}


@dataclass(frozen=True)
class Session:
    """Where a training loop reports its progress and keeps its checkpoints (None: nowhere)."""

    log: Callable[[str], None]
    folder: Path | None = None
    log_every_s: float = 20.0
    curves: dict[str, Curve] = field(default_factory=dict)
    """Of the loops that have ended, by name."""
    not_wanted: Event | None = None
    """Is set as soon as what is trained is not wanted any more."""

    def checkpoint(self, name: str) -> Checkpoint | None:
        return Checkpoint(self.folder / f"{name}.pt") if self.folder else None


@dataclass
class Plateau:
    """Counts epochs in which a loss has not fallen."""

    patience: int | None
    """Epochs without a lower loss that end a phase; None: it never ends early."""
    lowest: float = float("inf")
    stale: int = 0

    def reached(self, loss: Callable[[], float]) -> bool:
        """Whether the loss, computed only if needed, has not fallen for `patience` epochs."""
        if self.patience is None:
            return False
        now = loss()
        self.stale = 0 if now < self.lowest else self.stale + 1
        self.lowest = min(self.lowest, now)
        return self.stale >= self.patience


@dataclass
class Best:
    """The weights with a phase's lowest validation loss: early stopping goes back to them."""

    networks: Mapping[str, nn.Module]
    states: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def keep(self) -> None:
        """Copy the weights as they are now."""
        self.states = {
            name: {key: value.clone() for key, value in network.state_dict().items()}
            for name, network in self.networks.items()
        }

    def restore(self) -> None:
        """Bring back what was kept last, if anything was, and forget it: the next phase keeps its own."""
        for name, state in self.states.items():
            self.networks[name].load_state_dict(state)
        self.states = {}

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return self.states

    def load_state_dict(self, state_dict: dict[str, dict[str, Tensor]], /) -> None:
        self.states = state_dict


def is_small(parameters: int, rows: int | float) -> bool:
    """Whether a step of so many parameters on so many rows is too small for threads to share its operations."""
    return parameters * rows < WORTH_SHARING


def size(network: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(weights.numel() for weights in network.parameters())


@dataclass(frozen=True)
class Loop:
    """One training: which networks, in which phases, on how many rows, with which loss."""

    name: str
    networks: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    phases: Sequence[Phase]
    rows: int
    batches_per_epoch: int
    loss: Callable[[Tensor, Phase], Tensor]
    """The loss of a batch, given as row numbers."""
    generator: torch.Generator
    """Shuffles the rows, and drives what else is random in `loss` but dropout."""
    dropout: torch.Generator = torch.default_generator
    """What the networks' dropout draws from: if from torch's own, no other loop can go on meanwhile."""
    validation_loss: Callable[[Phase], Tensor] | None = None
    patience: int | None = None
    """See `Plateau`; needs a `validation_loss`."""
    rank: Rank = ALONE
    """Which process of a training in several this is: the loss is its own, what is reported is all ranks'."""
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    """Sets the learning rate after every batch, in place of the phases' own."""
    recordable: bool = False
    """Whether a step never waits for a GPU, so that one can repeat it by itself (`RecordedSteps`); without a schedule,
    and with an Adam."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(parameter.device for network in self.networks.values() for parameter in network.parameters())

    @property
    def small(self) -> bool:
        """Whether a step is too small for threads to share its operations; a network that convolves is not."""
        return is_small(sum(map(size, self.networks.values())), self.rows / self.batches_per_epoch)

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds."""
        schedule: dict[str, Stateful] = {"schedule": self.schedule} if self.schedule else {}
        return {**self.networks, "optimizer": self.optimizer, **schedule}

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]


def shuffled_batches(
    rows: int, batches: int, generator: torch.Generator, device: torch.device | None = None
) -> Iterable[Tensor]:
    """A shuffled epoch of row numbers, in batches of nearly equal size."""
    return torch.randperm(rows, generator=generator).to(device).tensor_split(batches)


@dataclass
class Progress:
    """How far a loop has come: the next epoch to train, and what early stopping has seen of its phase."""

    phase: int = 0
    epoch: int = 0
    lowest: float = float("inf")
    stale: int = 0
    loss_by_epoch: list[float] = field(default_factory=list)
    held_out_by_epoch: list[float] = field(default_factory=list)


@contextmanager
def products_in_tf32() -> Iterator[None]:
    """Meanwhile a GPU multiplies matrices in TF32: their numbers to three digits, their sums in single precision.

    In all of this process, which trains one thing at a time.
    """
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        yield
    finally:
        products.fp32_precision = before


def optimise(loop: Loop, session: Session) -> list[float]:
    """Train all phases; the mean training loss of every epoch.

    A phase ends early when the validation loss has not fallen for `patience` epochs, and with the weights of its
    lowest; without a `patience`, with its last. Continues from its checkpoint if there is one, and then ends with the
    weights of an uninterrupted run.

    Raises:
        FloatingPointError: a loss is not finite; the message has the epoch and the learning rate.
        NotWantedError: it is not wanted any more.
    """
    with (
        products_in_tf32() if loop.device.type == "cuda" else nullcontext(),
        one_thread() if loop.small else nullcontext(),
    ):
        return optimised(loop, session)


def optimised(loop: Loop, session: Session) -> list[float]:
    """As `optimise`, in whatever precision and threads are set."""
    checkpoint = session.checkpoint(loop.name)
    best = Best(loop.networks)
    parts = {**loop.parts, "best": best}
    resumed = checkpoint.resume(parts, loop.generator, loop.dropout) if checkpoint else None
    start = Progress(**resumed) if resumed else Progress()
    losses, held_out, logged_at = start.loss_by_epoch, start.held_out_by_epoch, monotonic()
    for number in range(start.phase, len(loop.phases)):
        phase, first, plateau = loop.phases[number], 0, Plateau(loop.patience)
        if number == start.phase:
            first, plateau = start.epoch, Plateau(loop.patience, start.lowest, start.stale)
        step = begun(loop, phase, session.not_wanted)
        for epoch in range(first, phase.epochs):
            losses.append(one_epoch(loop, epoch, step))
            if monotonic() - logged_at >= session.log_every_s:
                session.log(f"{loop.name}: {position(loop, number, epoch)}, loss {losses[-1]:.4f}")
                logged_at = monotonic()
            ended = plateau.reached(partial(finite_validation_loss, loop, phase, epoch, held_out))
            if loop.patience is not None and not plateau.stale:
                best.keep()
            if ended:
                break
            if checkpoint and loop.rank.writes and checkpoint.due():
                now = Progress(number, epoch + 1, plateau.lowest, plateau.stale, losses, held_out)
                checkpoint.save(parts, loop.generator, vars(now), loop.dropout)
        best.restore()
    for network in loop.networks.values():
        network.eval()
        network.zero_grad(set_to_none=True)  # what was recorded keeps its memory as long as its gradients are there
    if checkpoint and loop.rank.writes:
        ended_as = Progress(phase=len(loop.phases), loss_by_epoch=losses, held_out_by_epoch=held_out)
        checkpoint.save(parts, loop.generator, vars(ended_as), loop.dropout)
    # A checkpoint of older code has none of the epochs before it.
    session.curves[loop.name] = Curve(losses, held_out if len(held_out) == len(losses) else [])
    return losses


def position(loop: Loop, phase: int, epoch: int) -> str:
    """Where a loop is, for its log."""
    of_phase = f"phase {phase + 1}, " if len(loop.phases) > 1 else ""
    return f"{of_phase}epoch {epoch + 1:,} of {loop.phases[phase].epochs:,}"


@dataclass(frozen=True)
class Step:
    """A step of the optimiser in a phase."""

    loop: Loop
    phase: Phase
    not_wanted: Event | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """Take it on the rows with these numbers; the loss before.

        Raises:
            NotWantedError: it is not wanted any more.
        """
        check_wanted(self.not_wanted)
        loop = self.loop
        loss = loop.loss(rows, self.phase)
        loop.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loop.optimizer.step()
        if loop.schedule:
            loop.schedule.step()
        return loss.detach()


def begun(loop: Loop, phase: Phase, not_wanted: Event | None = None) -> Step | RecordedSteps:
    """Begin a phase, at its rate unless the loop has a schedule; what takes its steps."""
    for group in loop.optimizer.param_groups if loop.schedule is None else ():
        group["lr"] = phase.learning_rate
    step, records = Step(loop, phase, not_wanted), loop.recordable and loop.device.type == "cuda"
    for group in loop.optimizer.param_groups if loop.recordable else ():
        group["capturable"] = records  # a checkpoint may say what another machine could
    return RecordedSteps(step) if records else step


def one_epoch(loop: Loop, epoch: int, step: Step | RecordedSteps) -> float:
    """Train on every row once; the mean loss of the batches.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    for network in loop.networks.values():
        network.train()
    recorded, mean = [], 0.0
    device = loop.device if loop.recordable else None
    for rows in shuffled_batches(loop.rows, loop.batches_per_epoch, loop.generator, device):
        loss = step(rows)
        if isinstance(step, RecordedSteps):
            recorded.append(loss)  # to look at each would make the GPU wait for Python after every batch
        else:
            mean += finite(loss, loop, epoch) / loop.batches_per_epoch
    return finite(torch.stack(recorded).mean(), loop, epoch) if recorded else mean


def finite(loss: Tensor, loop: Loop, epoch: int) -> float:
    """The loss as a number.

    Raises:
        FloatingPointError: it is not finite.
    """
    value = float(loop.rank.mean(loss).item())
    if not isfinite(value):
        where = f"epoch {epoch + 1} at learning rate {loop.learning_rate:g}"
        raise FloatingPointError(f"{loop.name}: the loss is {value} in {where}")
    return value


@torch.no_grad()
def finite_validation_loss(loop: Loop, phase: Phase, epoch: int, losses: list[float]) -> float:
    """The loss on the validation rows, without dropout; it is added to those before.

    Raises:
        FloatingPointError: it is not finite.
    """
    assert loop.validation_loss is not None, "early stopping needs a validation loss"
    for network in loop.networks.values():
        network.eval()
    losses.append(finite(loop.validation_loss(phase), loop, epoch))
    return losses[-1]


def weights(network: nn.Module) -> dict[str, np.ndarray]:
    """A network's state as arrays, which an artefact can hold."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
