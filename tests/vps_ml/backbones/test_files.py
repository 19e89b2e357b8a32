"""Embeddings on disk: what is read is what was written."""

import hashlib
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from safetensors.numpy import save_file

from vps_ml.backbones import files
from vps_ml.backbones.files import QUALITY, gathered, load_embeddings, load_quality, save_embeddings, tensors
from vps_ml.stores import DamagedArtefact

FEATURES = {task: np.arange(start, start + 12, dtype=np.float16).reshape(4, 3) for task, start in (("a", 0), ("b", 50))}
MEASURES = np.arange(16.0).reshape(4, 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "embeddings" / "x" / "day.safetensors"
    save_embeddings(path, FEATURES, MEASURES)
    return path


def test_rows_come_back_in_the_order_of_the_request_and_tasks_in_the_order_asked_for(file: Path) -> None:
    other = file.with_name("other.safetensors")
    save_embeddings(other, {task: matrix + 1000 for task, matrix in FEATURES.items()}, MEASURES)
    found = gathered([other, file, other], [3, 0, 0], ["b", "a"])
    assert found.tolist() == [
        [1059, 1060, 1061, 1009, 1010, 1011],
        [50, 51, 52, 0, 1, 2],
        [1050, 1051, 1052, 1000, 1001, 1002],
    ]
    assert found.dtype == np.float16
    assert load_embeddings(file, [], np.array([1, 2])).shape == (2, 0)
    assert (load_quality(file) == MEASURES).all()


def test_a_byte_that_is_another_anywhere_in_a_matrix_is_found_and_the_file_set_aside(file: Path) -> None:
    whole = file.read_bytes()
    values = sum(matrix.nbytes for matrix in (*FEATURES.values(), MEASURES))
    for at in range(len(whole) - values, len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedArtefact):
            tensors(file)
        assert not file.exists()


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_file_that_was_cut_is_damaged(file: Path, left: int) -> None:
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(DamagedArtefact):
        load_embeddings(file, ["a"], np.array([0]))


def test_a_file_without_photos_is_read(tmp_path: Path) -> None:
    save_embeddings(tmp_path / "none", {"a": np.empty((0, 3), dtype=np.float16)}, np.empty((0, 4)))
    assert load_embeddings(tmp_path / "none", ["a"], np.array([], dtype=np.int64)).shape == (0, 3)
    assert load_quality(tmp_path / "none").shape == (0, 4)


def test_a_write_to_what_was_read_does_not_reach_the_file(file: Path) -> None:
    tensors(file)["a"][:] = 7
    assert (tensors(file)["a"] == FEATURES["a"]).all()


def test_checksums_of_before_are_still_held_to(tmp_path: Path) -> None:
    for name, of in (("good", FEATURES["a"]), ("bad", FEATURES["b"])):
        written = {"a": hashlib.sha256(of.data).hexdigest(), QUALITY: hashlib.sha256(MEASURES.data).hexdigest()}
        save_file({"a": FEATURES["a"], QUALITY: MEASURES}, tmp_path / name, metadata=written)
    assert (tensors(tmp_path / "good")["a"] == FEATURES["a"]).all()
    with pytest.raises(DamagedArtefact):
        tensors(tmp_path / "bad")


def test_a_file_is_held_to_its_checksums_once_and_again_when_it_is_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Mock(wraps=files.digest)
    monkeypatch.setattr(files, "digest", counted)
    for _ in range(3):
        load_embeddings(file, ["a"], np.array([1]))
    assert counted.call_count == 1
    tensors(file)
    assert counted.call_count == 1 + 2, "of the others there was no need before"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedArtefact):
        tensors(file)
