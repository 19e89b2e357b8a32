"""What a seller is told where there is no price."""

from pathlib import Path

import polars as pl

from vps_assets.serving.advice import WORDS_OF_ADVICE, advised
from vps_assets.serving.offers import Offer
from vps_ml.photos.quality import ADVICE, PhotoQuality

GAINS = pl.DataFrame(
    {"piece": ["brand"], "inputs": ["photo"], "priced_share": [0.2], "gain": [0.1], "gain_error": [0.01]}
)
OFFER, REASON = Offer("phone", Path("a.jpg")), "too_little_information"


def test_a_card_or_a_page_of_text_is_asked_for_a_photo_of_the_item_and_a_photo_for_what_helps_most() -> None:
    photo, card, page = (PhotoQuality(*q) for q in ((0.9, 0.5, 0.2, 0.0), (0.0, 0.5, 0.0, 0.0), (2.5, 0.9, 0.1, 0.9)))
    assert advised(OFFER, "photo", REASON, GAINS, photo)["advice"] == WORDS_OF_ADVICE["brand"]
    for nothing in (card, page):
        assert advised(OFFER, "photo", REASON, GAINS, nothing)["advice"] == ADVICE[REASON]
