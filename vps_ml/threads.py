"""How many threads share an operation, or do one each."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Event
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


class NotWantedError(Exception):
    """What is being made is not wanted any more."""


WORTH_SHARING = 2**26
"""Multiplications of a training step from which threads share its operations."""
AT_ONCE_BYTES = 2 << 30
"""What is made side by side takes no more memory together."""
LOOKS_EVERY_S = 0.1
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


def check_wanted(not_wanted: Event | None) -> None:
    """Go on unless it is set.

    Raises:
        NotWantedError: it is.
    """
    if not_wanted is not None and not_wanted.is_set():
        raise NotWantedError


def side_by_side(work: Callable[[Item, Event], Result], items: Sequence[Item], bytes_each: int = 0) -> list[Result]:
    """What `work` returns for each item, a thread a core being at work on one each, and sharing no operation.

    For work most of which is not Python's: several threads that share one operation wait for each other after each, ten
    times as long beside another process that takes a core (docs/adr/0034).

    Args:
        work: takes an item, and what is set as soon as its result is not wanted any more: an interruption waits for
            those that are at work.
        items: what it is done for.
        bytes_each: that it takes for one; together they take no more than `AT_ONCE_BYTES`.

    Raises:
        Exception: one that `work` has raised, of several that of the first item; those that had not begun are left.
    """
    at_once = AT_ONCE_BYTES // max(1, bytes_each)
    stop = Event()

    def alone(item: Item) -> Result:
        check_wanted(stop)
        try:
            with one_thread():  # OpenMP has a number for each thread
                return work(item, stop)
        except BaseException:
            stop.set()
            raise

    with one_thread(), ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, at_once))) as pool:
        futures = [pool.submit(alone, item) for item in items]
        try:
            while wait(futures, LOOKS_EVERY_S).not_done:  # a signal that another thread got does not end a wait
                pass
        except BaseException:
            stop.set()
            raise
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, NotWantedError)):
        raise error
    return [future.result() for future in futures]
