"""What is on the disk before it is answered for: the order of writing through and renaming, as the system sees it."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vps_ml import durable
from vps_ml.atomic import whole_file
from vps_ml.backbones.files import save_embeddings
from vps_ml.cards import Contents
from vps_ml.stores import Store

WATCHED: list[Callable[[str, tuple], None]] = []
sys.addaudithook(lambda event, arguments: [watch(event, arguments) for watch in WATCHED])  # a hook stays for good


@contextmanager
def steps(monkeypatch: pytest.MonkeyPatch, within: Path) -> Iterator[list[tuple[str, str]]]:
    """The folders made, names given and files or folders written through under `within`, in order."""
    found: list[tuple[str, str]] = []
    really = os.fsync

    def fsync(handle: int) -> None:
        found.append(("sync", name(Path(f"/proc/self/fd/{handle}").readlink())))
        really(handle)

    def watch(event: str, arguments: tuple) -> None:
        if event in ("os.mkdir", "os.rename") and str(arguments[0]).startswith(str(within)):
            found.append((event.removeprefix("os."), name(Path(arguments[event == "os.rename"]))))

    def name(path: Path) -> str:
        relative = str(path.relative_to(within)) if path.is_relative_to(within) else path.name
        return "temporary" if relative.endswith(".tmp") else relative

    monkeypatch.setattr(os, "fsync", fsync)
    WATCHED.append(watch)
    yield found
    WATCHED.remove(watch)


def test_a_file_is_written_through_then_renamed_then_its_folder_and_new_parents_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with steps(monkeypatch, tmp_path) as found, whole_file(tmp_path / "a" / "b" / "file") as temporary:
        temporary.write_text("x")
    assert found == [
        ("mkdir", "a"),
        ("sync", "."),
        ("mkdir", "a/b"),
        ("sync", "a"),
        ("sync", "temporary"),
        ("rename", "a/b/file"),
        ("sync", "a/b"),
    ]


def test_an_artefact_has_its_name_when_all_its_files_are_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with steps(monkeypatch, tmp_path) as found:
        contents = Contents({"kind": "x"}, {"weights": {"w": np.ones(3)}}, texts={"words": "y"})
        Store(tmp_path).make("0123", lambda: contents)
    renamed = found.index(("rename", "0123"))
    before = {name.rpartition("/")[2] for step, name in found[:renamed] if step == "sync"}
    assert before == {"card.json", "weights.safetensors", "words.txt", "temporary"}
    assert found[renamed + 1] == ("sync", ".")


def test_embeddings_are_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with steps(monkeypatch, tmp_path) as found:
        save_embeddings(tmp_path / "day", {"a": np.ones((2, 2), np.float16)}, np.ones((2, 4)))
    assert found == [("sync", "temporary"), ("rename", "day"), ("sync", ".")]


def test_a_move_between_folders_writes_both_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "file").touch()
    with steps(monkeypatch, tmp_path) as found:
        durable.move(tmp_path / "file", tmp_path / "to" / "file")
    assert found == [("rename", "to/file"), ("sync", "to"), ("sync", ".")]


def test_a_disk_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def syncfs(self, handle: int) -> int:
            return -1

    durable.sync_everything([tmp_path, tmp_path / "missing"])
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Library())
    with pytest.raises(OSError, match="could not be written through"):
        durable.sync_everything([tmp_path])
