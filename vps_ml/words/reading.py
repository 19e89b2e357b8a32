"""From what sellers say to numbers: hashed words, and encoded sentences where there is an encoder."""

from collections.abc import Sequence

import numpy as np

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents, identity
from vps_ml.recipes import WordsRecipe
from vps_ml.words.encoder import Encoder, stored
from vps_ml.words.files import WordFeatures
from vps_ml.words.hashing import hashed

CODE_VERSION = "1"
"""Part of a reader's id: raise it when prices are masked, or words hashed, otherwise."""
ENCODER = "encoder_id"
"""Entry of a reader's card."""


def reader_id(recipe: WordsRecipe, artefacts: Artefacts) -> str:
    """The id of the way in which words become numbers; its encoder is stored with it."""
    encoder_id = stored(recipe, artefacts)
    text_id = identity("words", CODE_VERSION, encoder_id)
    return artefacts.embeddings.make(text_id, lambda: Contents({"kind": "words", ENCODER: encoder_id}))


class Reader:
    """Reads words as those of an id were read; the encoder is loaded when the first text comes."""

    def __init__(self, artefacts: Artefacts, text_id: str) -> None:
        self.artefacts = artefacts
        self.encoder_id: str | None = artefacts.embeddings.card(text_id)[ENCODER]
        self._encoder: Encoder | None = None

    def read(self, texts: Sequence[str]) -> WordFeatures:
        """The features of texts whose prices are masked (`vps_ml.words.masking.said`)."""
        if self.encoder_id is None:
            return WordFeatures(hashed(texts), np.zeros((len(texts), 0), dtype=np.float16))
        if self._encoder is None:
            self._encoder = Encoder.load(self.artefacts, self.encoder_id)
        return WordFeatures(hashed(texts), self._encoder.encode(texts))
