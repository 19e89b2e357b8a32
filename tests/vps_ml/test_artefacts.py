from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents, identity
from vps_ml.stores import DamagedArtefact, Store


class HalfWritten(Contents):
    """Contents whose writing is broken off before the folder gets its name."""

    def write(self, folder: Path) -> None:
        super().write(folder)
        raise RuntimeError("killed")


@pytest.mark.parametrize("broken_off_in", ["fill", "write"])
def test_an_artefact_is_made_once_and_a_failed_one_leaves_nothing(broken_off_in: str, tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def fill() -> Contents:
        calls.append(len(calls))
        whole = {"card": {"kind": "test"}, "arrays": {"weights": {"w": np.ones(2)}}}
        if len(calls) == 1 and broken_off_in == "fill":
            raise RuntimeError("killed")
        return HalfWritten(**whole) if len(calls) == 1 else Contents(**whole)

    with pytest.raises(RuntimeError):
        store.make("abc", fill)
    assert list(tmp_path.iterdir()) == []
    assert store.make("abc", fill) == store.make("abc", fill)
    assert len(calls) == 2
    assert store.card("abc") == {"kind": "test"}
    assert store.arrays("abc", "weights")["w"].tolist() == [1.0, 1.0]


WEIGHTS = Contents({"kind": "test", "nothing": float("nan")}, {"weights": {"w": np.arange(20.0)}}, texts={"t": "text"})


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


@pytest.mark.parametrize("damage", [flipped, cut])
@pytest.mark.parametrize("file", ["card.json", "weights.safetensors", "t.txt"])
def test_what_is_not_as_it_was_written_is_not_read_but_set_aside_and_made_again(
    file: str, damage: Callable[[Path, int], None], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    length = 1 if file == "t.txt" else 40
    store.make("abc", lambda: WEIGHTS)
    damage(tmp_path / "abc" / file, length)
    assert store.faults("abc", deep=True) == [file]
    with pytest.raises(DamagedArtefact, match=file):
        store.card("abc") and store.arrays("abc", "weights") and store.text("abc", "t")
    assert "abc" not in store
    assert len(list(tmp_path.glob(".abc.*.damaged"))) == 1
    store.make("abc", lambda: WEIGHTS)
    assert store.arrays("abc", "weights")["w"].tolist() == list(range(20))


@given(st.binary(min_size=1, max_size=300), st.integers(0, 10_000))
def test_no_change_of_a_card_goes_unseen(noise: bytes, at: int) -> None:
    """Unless it changes spaces alone."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.make("abc", lambda: WEIGHTS)
        card = Path(folder) / "abc" / "card.json"
        data, before = card.read_bytes(), store.card("abc")
        at %= len(data)
        card.write_bytes(data[:at] + noise + data[at + len(noise) :])
        try:
            after = store.card("abc")
        except DamagedArtefact:
            return
        assert str(after) == str(before)


def test_a_file_that_is_gone_or_cut_makes_the_artefact_missing_without_reading_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("abc", lambda: WEIGHTS)
    for damage in (lambda path: cut(path, 30), Path.unlink):
        assert "abc" in store
        damage(tmp_path / "abc" / "weights.safetensors")
        assert "abc" not in store
        store.make("abc", lambda: WEIGHTS)


def test_an_artefact_of_before_has_no_checksums_and_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("abc", lambda: WEIGHTS)
    card = tmp_path / "abc" / "card.json"
    card.write_text('{"kind": "test"}')
    assert store.arrays("abc", "weights")["w"].tolist() == list(range(20))
    (tmp_path / "abc" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DamagedArtefact, match="weights"):
        store.arrays("abc", "weights")


def test_a_model_that_needs_what_is_gone_is_made_again(tmp_path: Path) -> None:
    artefacts, calls = Artefacts(tmp_path), []

    def fill() -> Contents:
        calls.append(artefacts.models.make("map", lambda: WEIGHTS))
        return Contents({"feature_map_id": "map"})

    artefacts.make_usable("model", fill)
    artefacts.make_usable("model", fill)
    assert len(calls) == 1
    flipped(tmp_path / "models" / "map" / "card.json", 9)
    assert not artefacts.usable("model")
    artefacts.make_usable("model", fill)
    assert len(calls) == 2
    assert artefacts.usable("model")


@pytest.mark.parametrize("artefact_id", ["", ".", "..", "../models/abc", ".hidden"])
def test_a_path_is_no_id(tmp_path: Path, artefact_id: str) -> None:
    Store(tmp_path).make("abc", lambda: WEIGHTS)
    assert artefact_id not in Store(tmp_path)


def test_an_identity_is_another_where_a_part_is_another() -> None:
    assert identity("a", 1) == identity("a", 1)
    assert identity("a", 1) != identity("a", 2)


def test_artefacts_of_before_are_held_to_what_they_are_from_now_on(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make("old", lambda: WEIGHTS)
    (tmp_path / "old" / "card.json").write_text('{"kind": "test"}')
    store.seal_old()
    assert store.card("old") == {"kind": "test"}
    assert store.faults("old", deep=True) == []
    flipped(tmp_path / "old" / "weights.safetensors", 90)
    store.seal_old()  # once is all
    assert store.faults("old", deep=True) == ["weights.safetensors"]
