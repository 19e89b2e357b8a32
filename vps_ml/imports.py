"""What importing costs, and a process can do without."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """Meanwhile a package that is not imported yet cannot be: for a module that would take it to no use.

    scikit-learn, with what it is made of, is a fifth of the CPU that one suggestion takes from its start to its answer.
    """
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[package]


@contextmanager
def uncollected() -> Iterator[None]:
    """Meanwhile no garbage is looked for, and what is there by its end is left out of all later looks, the last, too.

    To look through the modules of torch, several times while they are made and again as the process ends, is a quarter
    of the CPU of one suggestion.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looked:
            gc.enable()
