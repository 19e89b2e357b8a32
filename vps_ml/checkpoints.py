"""The state of a training loop, kept on disk while it runs: a run that is started again continues from it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from vps_ml.atomic import whole_file


@runtime_checkable  # the tests check the types of arguments
class Stateful(Protocol):
    """A module, an optimiser or a learning-rate schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass
class Checkpoint:
    """One file with the parts of a training loop and of the random number generators that it draws from.

    A resumed loop ends with the same weights as one that was never interrupted, on the same machine: dropout and the
    order of batches continue from where they were.
    """

    path: Path
    every_s: float = 60.0
    """Seconds between two writes: what a kill can cost at most, besides one epoch."""
    saved_at: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self.saved_at >= self.every_s

    def save(
        self,
        parts: dict[str, Stateful],
        generator: torch.Generator,
        progress: dict[str, Any],
        dropout: torch.Generator = torch.default_generator,
    ) -> None:
        """Write the state of the loop, whole or not at all; `progress` has plain values."""
        state = {
            "parts": {name: part.state_dict() for name, part in parts.items()},
            "batches": generator.get_state(),
            "random": dropout.get_state(),
            "random_of_gpu": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
            "progress": progress,
        }
        with whole_file(self.path) as temporary:
            torch.save(state, temporary)
        self.saved_at = time.monotonic()

    def resume(
        self,
        parts: dict[str, Stateful],
        generator: torch.Generator,
        dropout: torch.Generator = torch.default_generator,
    ) -> dict[str, Any] | None:
        """Load every part and generator from the file; the `progress` that was saved, None without a file."""
        if not self.path.exists():
            return None
        # weights_only: tensors and plain values, never code
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        for name, part in parts.items():
            if name in state["parts"]:  # a checkpoint of a version before may lack a part
                part.load_state_dict(state["parts"][name])
        generator.set_state(state["batches"])
        dropout.set_state(state["random"])
        if state["random_of_gpu"]:
            torch.cuda.set_rng_state(state["random_of_gpu"][0])
        return state["progress"]
