"""How many threads share an operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORTH_SHARING = 2**26
"""Multiplications of a training step from which threads share its operations."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile one thread of this process does each of torch's operations.

    Several wait for each other after each. Where these are small that gains a tenth at rest; and beside another process
    that takes a core for a moment, which a UI does, it made the demo's networks learn 5 to 25 times more slowly.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
