"""Ctrl-C and SIGTERM end a command, whatever it is in the middle of, and say so in one line."""

import os
import signal
import sys
import threading

from vps_assets.errors import tell

EXIT_CODE = 130
"""Also typer's own, after Ctrl-C."""
ENDS_WITHIN_S = 10.0
HEARD_WITHIN_S = 0.2
"""From a signal to the thread that notes it, which waits for the one that handles it."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CAME = threading.Event()
"""Set once somebody has ended this command."""


def listen() -> None:
    """Note an interruption as it arrives, and end the process if it does not end by itself.

    A signal reaches the code as KeyboardInterrupt, or as Dagster's own error, at any place: in a library that makes an
    error of its own of it, or in a destructor, where it is lost. Ending without more words is safe, as a kill is.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # a byte for each signal, whoever handles it
    sys.unraisablehook = unraised
    threading.Thread(target=watch, args=(read,), daemon=True).start()


def watch(read: int) -> None:
    """Wait for a signal, then for the end."""
    while os.read(read, 1)[0] not in SIGNALS:
        pass
    CAME.set()
    threading.Event().wait(ENDS_WITHIN_S)
    say()
    os._exit(EXIT_CODE)


def heed() -> None:
    """End a command that goes on although it was interrupted: whoever was called may have kept it to himself.

    Of a signal after a run's last step Dagster says nothing; one that is raised in a destructor is lost.

    Raises:
        KeyboardInterrupt: somebody has ended it.
    """
    if CAME.is_set():
        raise KeyboardInterrupt


def unraised(error: "sys.UnraisableHookArgs") -> None:
    """Print what was raised in a destructor, unless it is the interruption that was lost there."""
    if not CAME.wait(HEARD_WITHIN_S):
        sys.__unraisablehook__(error)


def say() -> None:
    tell("vps: interrupted; what was made stays, and running it again goes on from there")
