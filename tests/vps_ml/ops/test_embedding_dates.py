"""What is embedded and read when a date's listings change: what is new, and nothing else."""

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from datasets import BACKBONES
from scenario import photo
from worlds import TINY

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import STATE
from vps_ml.backbones.files import tensors
from vps_ml.backbones.networks import resnet
from vps_ml.cards import Contents
from vps_ml.ops.backbones import MissingDates, embed_dates
from vps_ml.ops.words import words_of_date
from vps_ml.recipes import demo
from vps_ml.training_loop import weights
from vps_ml.words.files import save_words
from vps_ml.words.reading import Reader, reader_id

DAY = date(2026, 1, 1)


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    artefacts = Artefacts(tmp_path)
    for seed, name in enumerate(BACKBONES.values()):
        state = weights(resnet("resnet10", "random", seed))
        artefacts.models.make(name, lambda state=state: Contents({}, arrays={STATE: state}))
    return artefacts


def landed(artefacts: Artefacts, seed: int) -> str:
    """The hash of a photo that has landed."""
    file = photo(artefacts.root / f"{seed}.png", seed=seed)
    photo_hash = hashlib.sha256(file.read_bytes()).hexdigest()
    path = artefacts.photo(photo_hash)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.rename(path)
    return photo_hash


def embedded(artefacts: Artefacts, name: str, hashes: list[str]) -> tuple[dict[str, np.ndarray], str]:
    """(a date's file of these photos, what was told of its making)."""
    told: list[str] = []
    path = artefacts.embedding_path("e", str(DAY), name)
    rows = pl.DataFrame({"listed_on": [DAY] * len(hashes), "photo_hash": hashes})
    embed_dates(MissingDates({path: rows}, BACKBONES, TINY, artefacts), told.append)
    return tensors(artefacts.embedding_file(path)), told[0]


def test_only_new_photos_are_embedded_and_the_features_are_those_of_all_at_once(artefacts: Artefacts) -> None:
    a, b, c, d = (landed(artefacts, seed) for seed in range(4))
    _, told = embedded(artefacts, "first", [a, b, c])
    assert told.endswith("3 photos of 3 listings embedded")
    some, told = embedded(artefacts, "second", [d, c, a, d])
    assert told.endswith("1 photos of 4 listings embedded, 2 as they were")
    artefacts.embedding_file(artefacts.embedding_path("e", str(DAY), "first")).unlink()
    artefacts.embedding_file(artefacts.embedding_path("e", str(DAY), "second")).unlink()
    afresh, told = embedded(artefacts, "third", [d, c, a, d])
    assert told.endswith("3 photos of 4 listings embedded")
    assert some.keys() == afresh.keys() >= {*BACKBONES, "photo_quality"}
    assert all(np.array_equal(values, afresh[name]) for name, values in some.items())


def test_a_date_that_loses_a_listing_runs_no_network(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = landed(artefacts, 0), landed(artefacts, 1)
    both, _ = embedded(artefacts, "first", [a, b])
    monkeypatch.setattr("vps_ml.backbones.embedding.load_extractors", None)
    one, told = embedded(artefacts, "second", [b])
    assert told.endswith("0 photos of 1 listings embedded, 1 as they were")
    assert all(np.array_equal(one[task][0], both[task][1]) for task in BACKBONES)


def test_nothing_is_taken_from_a_damaged_file_nor_from_another_date(artefacts: Artefacts) -> None:
    a, b = landed(artefacts, 0), landed(artefacts, 1)
    embedded(artefacts, "first", [a, b])
    file = artefacts.embedding_file(artefacts.embedding_path("e", str(DAY), "first"))
    other = file.with_name(file.name.replace(str(DAY), "2026-01-02"))
    other.write_bytes(file.read_bytes())
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    _, told = embedded(artefacts, "second", [a])
    assert told.endswith("1 photos of 1 listings embedded")
    assert not file.exists()
    assert other.exists()


def test_only_new_words_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = Artefacts(tmp_path)
    reader = Reader(artefacts, reader_id(demo().words, artefacts))
    path = tmp_path / "embeddings" / "w" / f"{DAY}-a.safetensors"

    def made(path: Path, texts: list[str]) -> int:
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        words, new = words_of_date(path, hashes, texts, reader)
        expected = reader.read(texts)
        assert (words.hashed != expected.hashed).nnz == 0
        assert words.encoded.shape == expected.encoded.shape
        save_words(path, words, hashes)
        return new

    assert made(path, ["red coat", "an armchair", ""]) == 3
    assert made(path.with_name(f"{DAY}-b.safetensors"), ["a bicycle", "", "red coat", "", "a bicycle"]) == 1
    monkeypatch.setattr(Reader, "read", None)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in ("an armchair", "a bicycle")]
    words, new = words_of_date(path.with_name(f"{DAY}-c.safetensors"), hashes, ["", ""], reader)
    assert (words.hashed.shape[0], new) == (2, 0)
