"""What is on disk when the power fails: files, and the folder entries that lead to them, written through.

A rename alone is no promise: after a power failure the new name may stand for an empty file, or not stand at all. So a
file is written through, renamed, and then its folder is written through (https://lwn.net/Articles/457667/).
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Write a file, or a folder's entries, through to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that they are still there after a power failure."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def move(source: Path, target: Path) -> None:
    """Rename, within one file system, so that a power failure leaves one of the two names.

    What `source` holds has to be written through before.
    """
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def sync_everything(folders: Iterable[Path]) -> None:
    """Write everything through that was written to the file systems of these folders: once for many small files.

    Raises:
        OSError: the disk has failed.
    """
    devices = {folder.stat().st_dev: folder for folder in folders if folder.exists()}
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux
    for folder in devices.values():
        if call is None:
            os.sync()
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            if call(handle) != 0:
                raise OSError(ctypes.get_errno(), "what was written could not be written through", str(folder))
        finally:
            os.close(handle)
