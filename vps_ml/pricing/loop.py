"""The loop that every price network is trained in: phases, early stopping, checkpoints.

Axes: N item, F feature.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vps_ml.checkpoints import Checkpoint, Stateful
from vps_ml.features.matrix import MatrixRows
from vps_ml.pricing.networks import PriceNetwork
from vps_ml.recipes import PricingRecipe

TELL_EVERY_S = 20.0


@dataclass(frozen=True)
class Phase:
    """Some epochs at one learning rate."""

    epochs: int
    learning_rate: float
    warming_up: bool


def phases(recipe: PricingRecipe, rows: int, warm_up: bool) -> tuple[Phase, ...]:
    """The paper's four phases; without warm-up, stage 2 alone for as many epochs in all.

    Where they would take more steps on this many rows than the recipe allows, all shrink alike, to one epoch at
    least: the more rows, the fewer times each has to be seen.
    """
    share = 1.0
    if recipe.most_steps is not None:
        share = min(1.0, recipe.most_steps / (sum(recipe.epochs) * batches_per_epoch(rows, recipe.batch_size)))
    a, b, c, d = (max(1, round(share * epochs)) for epochs in recipe.epochs)
    fast, slow = recipe.learning_rates
    if warm_up:
        return Phase(a, fast, True), Phase(b, slow, True), Phase(c, fast, False), Phase(d, slow, False)
    return Phase(a + c, fast, False), Phase(b + d, slow, False)


def stage_one_twice(recipe: PricingRecipe, rows: int) -> tuple[Phase, ...]:
    """Stage 1's rates for twice its epochs: what a network that learns alone gets, and warm-up converges to."""
    return tuple(Phase(2 * p.epochs, p.learning_rate, True) for p in phases(recipe, rows, warm_up=True)[:2])


def batches_per_epoch(rows: int, batch_size: int) -> int:
    return max(1, -(-rows // batch_size))


def batches(rows: int, batch_size: int, generator: torch.Generator) -> Iterable[Tensor]:
    """A shuffled epoch in batches of nearly equal size, none above `batch_size`."""
    return torch.randperm(rows, generator=generator).tensor_split(batches_per_epoch(rows, batch_size))


@dataclass(frozen=True)
class Examples:
    """Rows to learn from, or to stop by: features and what is to be learnt of them (a log price, or an error)."""

    x: MatrixRows
    target: Float[Tensor, " N"]

    @classmethod
    def of(cls, x: MatrixRows, target: np.ndarray) -> "Examples":
        return cls(x, torch.from_numpy(np.asarray(target, dtype=np.float32)).to(x.numbers.device))

    def batch(self, rows: Tensor) -> tuple[Float[Tensor, "B P"], Float[Tensor, " B"]]:
        return self.x.batch(rows), self.target[rows.to(self.target.device)]

    def said_by(self, network: PriceNetwork) -> Float[Tensor, "N O"]:
        """A network's outputs for all rows."""
        return torch.cat([network.layers(part) for part in self.x.parts()])


@dataclass(frozen=True)
class Session:
    """Whom a training loop tells how far it is, and where it keeps its checkpoints (None: nowhere)."""

    log: Callable[[str], None]
    folder: Path | None = None

    def checkpoint(self, name: str) -> Checkpoint | None:
        return Checkpoint(self.folder / f"{name}.pt") if self.folder else None


@dataclass
class Plateau:
    """Whether a loss has not fallen for `patience` epochs; never, where `patience` is None."""

    patience: int | None
    lowest: float = float("inf")
    stale: int = 0

    def reached(self, loss: Callable[[], float]) -> bool:
        if self.patience is None:
            return False
        now = loss()
        self.stale = 0 if now < self.lowest else self.stale + 1
        self.lowest = min(self.lowest, now)
        return self.stale >= self.patience


@dataclass(frozen=True)
class Loop:
    """One training: which networks, in which phases, on how many rows, by which loss."""

    name: str
    networks: Mapping[str, PriceNetwork]
    optimizer: torch.optim.Optimizer
    schedule: Sequence[Phase]
    rows: int
    loss: Callable[[Tensor, Phase], Tensor]
    """The loss of a batch of training rows."""
    held_out_loss: Callable[[Phase], Tensor]
    """The same loss on the validation rows."""


def optimise(loop: Loop, recipe: PricingRecipe, seed: int, session: Session) -> None:
    """Run the phases; one ends early when the validation rows' loss has not fallen for `patience` epochs.

    Goes on from its checkpoint where there is one, and then ends with the weights of an unbroken run.

    Raises:
        FloatingPointError: a loss is not finite; the message has the epoch and the learning rate.
    """
    generator = torch.Generator().manual_seed(seed)
    checkpoint = session.checkpoint(loop.name)
    parts: dict[str, Stateful] = {**loop.networks, "optimizer": loop.optimizer}
    resumed = checkpoint.resume(parts, generator) if checkpoint else None
    start = resumed or {"phase": 0, "epoch": 0, "lowest": float("inf"), "stale": 0}
    told = monotonic()
    for number in range(start["phase"], len(loop.schedule)):
        phase, first, plateau = loop.schedule[number], 0, Plateau(recipe.patience)
        if number == start["phase"]:
            first, plateau = start["epoch"], Plateau(recipe.patience, start["lowest"], start["stale"])
        for group in loop.optimizer.param_groups:
            group["lr"] = phase.learning_rate
        for epoch in range(first, phase.epochs):
            one_epoch(loop, phase, epoch, recipe.batch_size, generator)
            if plateau.reached(partial(held_out_loss, loop, phase, epoch)):
                break
            if checkpoint and checkpoint.due():
                at = {"phase": number, "epoch": epoch + 1, "lowest": plateau.lowest, "stale": plateau.stale}
                checkpoint.keep(parts, generator, at)
            if monotonic() - told > TELL_EVERY_S:
                session.log(f"{loop.name}: phase {number + 1}, epoch {epoch + 1:,} of {phase.epochs:,}")
                told = monotonic()
    for network in loop.networks.values():
        network.eval()
    if checkpoint:
        checkpoint.keep(parts, generator, {"phase": len(loop.schedule)})


def one_epoch(loop: Loop, phase: Phase, epoch: int, batch_size: int, generator: torch.Generator) -> None:
    """Every training row once.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    for network in loop.networks.values():
        network.train()
    for rows in batches(loop.rows, batch_size, generator):
        loss = finite(loop.loss(rows, phase), loop, phase, epoch)
        loop.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loop.optimizer.step()


def finite(loss: Tensor, loop: Loop, phase: Phase, epoch: int) -> Tensor:
    """The loss.

    Raises:
        FloatingPointError: it is not finite.
    """
    if not torch.isfinite(loss):
        told = f"epoch {epoch + 1} at learning rate {phase.learning_rate:g}"
        raise FloatingPointError(f"{loop.name}: the loss is {loss.item()} in {told}")
    return loss


@torch.no_grad()
def held_out_loss(loop: Loop, phase: Phase, epoch: int) -> float:
    """The loss on the validation rows, without dropout.

    Raises:
        FloatingPointError: it is not finite.
    """
    for network in loop.networks.values():
        network.eval()
    return finite(loop.held_out_loss(phase), loop, phase, epoch).item()
