"""Training steps that a GPU is told once and then repeats (CUDA graphs).

A step of the price networks is some seventy kernels of ten microseconds; to start each from Python takes three times as
long as they do. https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

WARM_UP = 3
"""Steps of each size, in each phase, that are not recorded: what is allocated once is, and the libraries have chosen
their kernels."""


class Recording(NamedTuple):
    """A recorded step, the row numbers that it reads and the loss that it leaves."""

    graph: torch.cuda.CUDAGraph
    rows: Tensor
    loss: Tensor


class RecordedSteps:
    """A step that is recorded for each number of rows, and does what the step itself would do.

    The step must not wait for the GPU, nor take anything from the CPU that changes: that is recorded as it was. Random
    numbers go on from step to step.
    """

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        self.taken: Counter[int] = Counter()
        self.recordings: dict[int, Recording] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        """Take a step on the rows with these numbers; its loss."""
        size = len(rows)
        if size not in self.recordings:
            self.taken[size] += 1
            if self.taken[size] <= WARM_UP:
                return self.aside(rows)
            self.recordings[size] = self.recorded(rows)
        recording = self.recordings[size]
        recording.rows.copy_(rows)
        recording.graph.replay()
        return recording.loss.clone()

    def aside(self, rows: Tensor) -> Tensor:
        """Take the step on the stream on which it will be recorded."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            loss = self.step(rows)
        current.wait_stream(self.stream)
        return loss

    def recorded(self, rows: Tensor) -> Recording:
        """Record the step on so many rows, without taking it."""
        graph, own = torch.cuda.CUDAGraph(), rows.clone()
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            loss = self.step(own)
        return Recording(graph, own, loss)
