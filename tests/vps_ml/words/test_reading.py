"""Words as numbers: hashed alike in training and serving, stored and read again in the requested order."""

from pathlib import Path

import numpy as np
import pytest

from vps_ml.artefacts import Artefacts
from vps_ml.recipes import demo
from vps_ml.stores import DamagedArtefact
from vps_ml.words.files import WordFeatures, joined_words, load_words, save_words, word_blocks
from vps_ml.words.hashing import HASHES, MOST_CHARACTERS, hashed
from vps_ml.words.reading import Reader, reader_id

TEXTS = ["red wool coat", "", "blue phone", "coat, red"]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    artefacts = Artefacts(tmp_path)
    return Reader(artefacts, reader_id(demo().words, artefacts))


def shared(first: str, second: str, part: slice) -> int:
    """How many hashes two texts have in common."""
    one, other = (set(hashed([text])[:, part].indices) for text in (first, second))
    return len(one & other)


def test_the_same_words_have_the_same_hashes_and_a_typing_error_still_shares_most_pieces() -> None:
    words, pieces = slice(0, HASHES), slice(HASHES, None)
    assert shared("red coat", "Red COAT", words) == 3  # red, coat, and the pair
    assert shared("coat red", "red coat", words) == 2
    assert shared("armchair", "armchiar", words) == 0
    assert shared("armchair", "armchiar", pieces) > shared("armchair", "bicycle", pieces) + 5


def test_what_stands_beyond_the_beginning_is_not_read() -> None:
    long = "word " * (MOST_CHARACTERS // 5)
    assert (hashed([long + "unheard"]) != hashed([long + "otherwise"])).nnz == 0
    assert hashed([]).shape == (0, 2 * HASHES)


def test_stored_words_come_back_in_the_order_of_the_request(reader: Reader, tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    save_words(paths[0], reader.read(TEXTS[:2]))
    save_words(paths[1], reader.read(TEXTS[2:]))
    asked = [paths[1], paths[0], paths[1], paths[0]], [0, 1, 1, 0]
    read = joined_words(word_blocks(*asked))
    expected = reader.read([TEXTS[2], TEXTS[1], TEXTS[3], TEXTS[0]])
    assert (read.hashed != expected.hashed).nnz == 0
    assert read.encoded.shape == (4, 0)


def test_a_damaged_file_of_words_is_not_read(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "words" / "a.safetensors"
    save_words(path, reader.read(TEXTS))
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtefact):
        load_words(path)


def test_another_way_of_reading_has_another_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = Artefacts(tmp_path)
    before = reader_id(demo().words, artefacts)
    monkeypatch.setattr("vps_ml.words.reading.CODE_VERSION", "other")
    assert reader_id(demo().words, artefacts) != before
    assert reader_id(demo().words, artefacts) in artefacts.embeddings


def test_rows_of_words_are_chosen_by_number(reader: Reader) -> None:
    words = reader.read(TEXTS)
    chosen = WordFeatures(words.hashed, np.arange(4, dtype=np.float16)[:, None]).rows(np.array([3, 0]))
    assert chosen.encoded[:, 0].tolist() == [3, 0]
    assert (chosen.hashed[1] != words.hashed[0]).nnz == 0
