"""Which model's answer a listing with a photo and words gets: a bad photo does not spoil what is said (docs/adr/0022).

Axes: N listing.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from vps_ml.pricing.calibration import Prediction

Predicting = Callable[[Sequence[int]], Sequence[Prediction]]
"""Numbers of some of the listings -> a model's predictions for them."""


def by_words_alone(
    both: Float[np.ndarray, " N"], photo: Float[np.ndarray, " N"], words: Float[np.ndarray, " N"]
) -> Bool[np.ndarray, " N"]:
    """Whether words alone price a listing: the model of both refuses it, that of the photo alone does too, and that
    of words does not.

    Args:
        both: qualification by the model of photo and words.
        photo: by the model of the photo alone, of the same listings.
        words: by the model of words alone.
    """
    return (both < 0.5) & (photo < 0.5) & (words >= 0.5)


def said_instead(both: Sequence[Prediction], photo: Predicting, words: Predicting) -> Mapping[int, Prediction]:
    """Number of a listing that words alone price -> the prediction by words; the other models are asked only for it.

    Args:
        both: predictions of all listings by the model of photo and words.
        photo: the model of the photo alone.
        words: that of words alone.
    """
    refused = [number for number, prediction in enumerate(both) if prediction.qualification < 0.5]
    seen = photo(refused) if refused else []
    unseen = [number for number, prediction in zip(refused, seen, strict=True) if prediction.qualification < 0.5]
    said = words(unseen) if unseen else []
    return {number: one for number, one in zip(unseen, said, strict=True) if one.qualification >= 0.5}
