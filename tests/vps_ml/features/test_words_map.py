"""From words to features: TF-IDF as its textbook has it, reduced on training rows, zero for who says nothing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from worlds import tabular_rows

from vps_ml.artefacts import Artefacts
from vps_ml.features.scaling import FeatureMap, principal_axes, tabular_moments
from vps_ml.features.tabular import tabular_matrix
from vps_ml.features.words_map import WordsMap, tf_idf, weights
from vps_ml.pricing.ridge import WordsRidge
from vps_ml.words.files import WordFeatures
from vps_ml.words.hashing import HASHES, PIECES, WORDS, hashed

NOUNS = ("phone", "coat", "bike", "lamp", "sofa")
TEXTS = [f"{NOUNS[i % 5]} {('new', 'used', 'worn')[i % 3]} {i % 4}" for i in range(60)]


def words(texts: list[str]) -> WordFeatures:
    return WordFeatures(hashed(texts), np.zeros((len(texts), 0), dtype=np.float16))


def test_weights_are_those_of_scikit_learns_tf_idf() -> None:
    kept, idf = weights(hashed(TEXTS))
    ours = tf_idf(hashed(TEXTS), kept, idf)
    for part, kind in ((ours[:, kept < HASHES], WORDS), (ours[:, kept >= HASHES], PIECES)):
        theirs = TfidfVectorizer(**kind, binary=True, min_df=2).fit_transform(TEXTS)
        similar, expected = ((m @ m.T).toarray() for m in (part, theirs))  # whatever the order of columns
        assert similar == pytest.approx(expected, abs=1e-5)


def test_like_words_are_near_and_who_says_nothing_or_nothing_known_is_the_mean() -> None:
    fitted = WordsMap.fitted(words(TEXTS), 8, 0)
    phone, phones, sofa, silent, unknown = fitted.features(
        words(["phone new 1", "phone new 2", "sofa worn 3", "", "zzzz"])
    )
    assert np.linalg.norm(phone - phones) < np.linalg.norm(phone - sofa)
    assert not silent.any()
    assert unknown == pytest.approx(-fitted.mean)
    assert fitted.parts == (8, 0)
    assert fitted.features(words(["", ""])).tolist() == [[0.0] * 8] * 2


def test_training_rows_without_words_have_no_part_in_the_map_and_none_at_all_make_an_empty_one() -> None:
    spoken = WordsMap.fitted(words(TEXTS), 8, 0)
    with_silent = WordsMap.fitted(words([*TEXTS, "", ""]), 8, 0)
    assert np.array_equal(spoken.features(words(TEXTS)), with_silent.features(words(TEXTS)))
    assert WordsMap.fitted(words(["", ""]), 8, 0).width == 0


ALIKE = {
    "nobody says anything": [""] * 60,
    "one does": ["gold ring", *[""] * 59],
    "two say other things": ["gold ring", "silver ring", *[""] * 58],
    "all say the same": ["for sale"] * 60,
    "only pieces of words recur": ["abcdefgh1", "abcdefgh2", *[""] * 58],
}


@pytest.mark.parametrize("texts", ALIKE.values(), ids=ALIKE)
def test_words_that_tell_nothing_apart_are_no_features_and_nothing_fails(texts: list[str]) -> None:
    encoded = np.zeros((60, 12), dtype=np.float16)
    encoded[[bool(text) for text in texts]] = 0.3
    said = WordFeatures(hashed(texts), encoded)
    fitted = WordsMap.fitted(said, 8, 0)
    assert np.isfinite(fitted.features(said)).all()
    assert np.abs(fitted.features(said)).max(initial=0) < 100
    price = np.arange(60) / 10
    ridge = WordsRidge.fitted(said.hashed, np.ones((60, 1)), np.ones(1), price, np.arange(60).astype(str), 0)
    assert np.isfinite(ridge.judge(said.hashed, np.ones((60, 1)))[0]).all()


def test_a_stored_map_of_photo_and_words_is_the_same_again(tmp_path: Path) -> None:
    rows, artefacts = tabular_rows(60), Artefacts(tmp_path)
    visual = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float16)
    encoded = np.random.default_rng(1).normal(size=(60, 12)).astype(np.float16)
    said = WordFeatures(hashed(TEXTS), encoded)
    columns = ("category_median",)
    moments = tabular_moments(tabular_matrix(rows, columns))
    fitted = FeatureMap(*principal_axes(visual, 5, 0), *moments, columns, WordsMap.fitted(said, 6, 0))
    artefacts.models.make("m", lambda: fitted.contents("MSTFE+WORDS", "group"))
    loaded = FeatureMap.load(artefacts, "m")
    expected = fitted.matrix(visual, rows, said)
    assert expected.shape == (60, 5 + 6 + 6 + 1)
    assert np.array_equal(loaded.matrix(visual, rows, said), expected)
    assert loaded.photo_width == 5 and loaded.width == 17


def test_a_photos_map_has_no_words(tmp_path: Path) -> None:
    rows, artefacts = tabular_rows(20), Artefacts(tmp_path)
    columns = ("category_median",)
    visual = np.ones((20, 4), dtype=np.float16) * np.arange(20)[:, None]
    fitted = FeatureMap(*principal_axes(visual, 2, 0), *tabular_moments(tabular_matrix(rows, columns)), columns)
    artefacts.models.make("m", lambda: fitted.contents("MSTFE", "group"))
    assert FeatureMap.load(artefacts, "m").words is None
    assert isinstance(rows, pl.DataFrame)
