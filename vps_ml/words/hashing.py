"""Words and pieces of words, hashed: no vocabulary is kept, so that nothing has to be fitted or stored for them.

Axes: N text, H hash.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vps_ml.words.masking import MOST_CHARACTERS

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

HASHES = 2**18
"""Of words, and again as many of pieces of words."""
WORDS = {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
"""Single words and pairs of them."""
PIECES = {"analyzer": "char_wb", "ngram_range": (2, 5)}
"""Two to five letters within a word: another ending, a typing error or a compound still shares most of them."""


def hashed(texts: Sequence[str]) -> "csr_matrix":
    """Which words and pieces stand in each text (N 2·H), as ones: words in the first half of the columns."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    read = [text[:MOST_CHARACTERS] for text in texts]
    common = {"n_features": HASHES, "alternate_sign": False, "norm": None, "binary": True}
    if not read:
        return csr_matrix((0, 2 * HASHES), dtype="float32")
    parts = [HashingVectorizer(**common, **kind, dtype="float32").transform(read) for kind in (WORDS, PIECES)]
    return hstack(parts, format="csr")
