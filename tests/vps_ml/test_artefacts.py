from pathlib import Path

import numpy as np
import pytest

from vps_ml.artefacts import Contents, Store, identity


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


def test_an_identity_is_another_where_a_part_is_another() -> None:
    assert identity("a", 1) == identity("a", 1)
    assert identity("a", 1) != identity("a", 2)
