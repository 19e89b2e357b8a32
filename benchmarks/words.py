"""Titles to features: hashed words, and sentences encoded where an encoder is installed, against the naive way.

    python benchmarks/words.py [--titles 1000] [--full]

The naive way of hashed words is scikit-learn's TfidfVectorizer with the same words and pieces, which keeps a
vocabulary; that of the encoder takes texts in the order in which they come, padded to the longest of each batch. Titles
are the demo sellers'. `--full`: 10,000 titles.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import tempfile
from collections.abc import Sequence

import numpy as np
from measure import interleaved, report, tell, tell_seconds, wall_seconds
from sklearn.feature_extraction.text import TfidfVectorizer

from vps_assets.demo.market import draw_item_of
from vps_assets.demo.words import said as said_by_seller
from vps_ml.artefacts import Artefacts
from vps_ml.recipes import WordsRecipe, encoder_folder, with_encoder
from vps_ml.words import encoder as encoding
from vps_ml.words.hashing import PIECES, WORDS, hashed
from vps_ml.words.masking import said

PACKAGED = WordsRecipe(reduced_features=256, encoder="packaged")


def titles(count: int) -> list[str]:
    """What the demo's sellers call their items, prices masked."""
    rng = np.random.default_rng(0)
    spoken = (said_by_seller(draw_item_of(rng), "plain", 50.0, rng) for _ in range(count))
    return [said(one.title, None) for one in spoken]


def with_vocabulary(texts: Sequence[str]) -> None:
    """The same words and pieces by scikit-learn's vectoriser, which has to see all texts first."""
    for kind in (WORDS, PIECES):
        TfidfVectorizer(**kind).fit_transform(texts)


def as_they_come(encoder: encoding.Encoder, texts: Sequence[str]) -> None:
    """The encoder on texts of all lengths together."""
    for start in range(0, len(texts), encoding.AT_ONCE):
        encoder.encode(texts[start : start + encoding.AT_ONCE])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--titles", type=int, default=1000)
    parser.add_argument("--full", action="store_true", help="10,000 titles")
    arguments = parser.parse_args()
    texts = titles(10_000 if arguments.full else arguments.titles)
    ways = {"hashed": lambda: hashed(texts), "vocabulary": lambda: with_vocabulary(texts)}
    taken = interleaved(ways, 3, wall_seconds)
    tell_seconds(taken, "hashed", "wall")
    figures: dict[str, object] = {
        "titles": len(texts),
        "hashed_s": taken["hashed"],
        "hashed_speedup": taken["vocabulary"] / taken["hashed"],
        "encoder": encoder_folder(PACKAGED) is not None,
    }
    if figures["encoder"]:
        with tempfile.TemporaryDirectory() as folder:
            artefacts = Artefacts(Path(folder))
            encoder_id = encoding.stored(with_encoder(PACKAGED, None), artefacts)
            encoder = encoding.Encoder.load(artefacts, str(encoder_id))
            ways = {"encoded": lambda: encoder.encode(texts), "as they come": lambda: as_they_come(encoder, texts)}
            taken = interleaved(ways, 1, wall_seconds)
        tell_seconds(taken, "encoded", "wall")
        figures |= {"encoded_s": taken["encoded"], "encoded_speedup": taken["as they come"] / taken["encoded"]}
    else:
        tell("no encoder is installed: pip install '.[words]' in the checkout")
    report(**figures)


if __name__ == "__main__":
    main()
