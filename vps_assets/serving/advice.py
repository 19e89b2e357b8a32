"""What to tell a seller whose item cannot be priced: what is wrong with the photo, or what would help most."""

import polars as pl

from vps_assets.serving.offers import Offer
from vps_ml.evaluation.advice import PHOTO, PIECES, SHARPER
from vps_ml.photos.quality import ADVICE, TOO_LITTLE, PhotoQuality, shows_nothing

WORDS_OF_ADVICE = {
    "title": "Say in a title what it is, of which brand, size and state.",
    "brand": "Name the brand.",
    "condition": "Say what condition it is in.",
    PHOTO: "Add a photo of the whole item.",
}
"""What can be added -> what to tell the seller."""


HARD_TO_TELL = "What such items have sold for differs too much to suggest one price."
"""Where nothing is wrong with the photo, and nothing that could be added is known to help."""


def advised(
    offer: Offer, inputs: str, reason: str, gains: pl.DataFrame, quality: PhotoQuality | None = None
) -> dict[str, object]:
    """(`advice`, what would help most; `would_help`, the gain in qualification to expect of each thing).

    Gains are those that test listings had (`advice_gains`), by more than a standard error. A better photo is advised
    where this one's fault can be measured, where it shows no item at all, or where nothing else is known to help.
    """
    missing = {name for name in PIECES if all(getattr(offer, column) is None for column in PIECES[name])}
    empty = quality is not None and shows_nothing(quality)
    faulty = offer.image is not None and (empty or reason != TOO_LITTLE)
    missing |= {PHOTO} if offer.image is None else {SHARPER} if faulty else set()
    of_inputs = gains.filter(pl.col("inputs") == inputs, pl.col("piece").is_in(sorted(missing)))
    helped = of_inputs.filter(pl.col("gain") > pl.col("gain_error")).sort("priced_share", "gain", descending=True)
    expected = {row["piece"]: round(row["gain"], 4) for row in helped.to_dicts()}
    if faulty:
        advice = ADVICE[reason]
    elif expected:
        advice = WORDS_OF_ADVICE[next(iter(expected))]
    elif offer.image is None:
        advice = WORDS_OF_ADVICE[PHOTO]
    else:
        advice = HARD_TO_TELL if inputs == "both" else ADVICE[reason]
    return {"advice": advice, "would_help": expected}
