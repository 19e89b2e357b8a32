"""Imports that a process can do without."""

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
