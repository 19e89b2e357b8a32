"""How many threads share an operation, or do one each."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_SHARING = 2**26
"""Multiplications of a training step from which threads share its operations."""
NUMBERS_WORTH_SHARING = 2**22
"""Numbers of a matrix that is predicted from: of fewer, operations are small. 8,192 rows of 512 features."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile one thread of this process does each operation of torch, BLAS and OpenMP.

    Several wait for each other after each. Where these are small that gains a tenth at rest; and beside another process
    that takes a core for a moment, which a UI does, it made the demo's networks learn 5 to 25 times more slowly.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def threads_for(rows: int, features: int) -> AbstractContextManager[None]:
    """Meanwhile as many threads share an operation as predicting so many rows of so many features is worth."""
    return one_thread() if rows * features < NUMBERS_WORTH_SHARING else nullcontext()


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What `work` returns for each item, a thread a core being at work on one each.

    For work that is not Python's and that does with one thread: several that share one operation wait for each other
    after each, ten times as long beside another process that takes a core (docs/adr/0034).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))
