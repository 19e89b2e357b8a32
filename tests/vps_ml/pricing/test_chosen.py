"""Which model's answer a listing with a photo and words gets."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vps_ml.pricing.calibration import Prediction
from vps_ml.pricing.chosen import by_words_alone, said_instead

qualifications = st.lists(st.tuples(*[st.sampled_from((0.0, 0.3, 0.5, 0.9))] * 3), max_size=12)


def prediction(qualification: float, log_price: float = 0.0) -> Prediction:
    return Prediction(log_price, log_price - 1, log_price + 1, qualification)


def test_words_alone_price_what_neither_the_photo_nor_both_do() -> None:
    both, photo, words = np.array([[0.4, 0.4, 0.6], [0.6, 0.4, 0.9], [0.4, 0.5, 0.9], [0.4, 0.4, 0.4]]).T
    assert by_words_alone(both, photo, words).tolist() == [True, False, False, False]


@given(qualifications)
def test_models_are_asked_for_no_more_than_is_needed_and_the_answers_are_those_of_the_rule(
    rows: list[tuple[float, float, float]],
) -> None:
    both, photo, words = (np.array([row[place] for row in rows]) for place in range(3))
    asked: dict[str, list[int]] = {"photo": [], "words": []}

    def model(name: str, column: np.ndarray) -> "object":
        def predict(numbers: Sequence[int]) -> list[Prediction]:
            asked[name] += numbers
            return [prediction(column[number], float(number)) for number in numbers]

        return predict

    found = said_instead([prediction(q) for q in both], model("photo", photo), model("words", words))  # type: ignore[arg-type]
    assert sorted(found) == np.flatnonzero(by_words_alone(both, photo, words)).tolist()
    assert all(one.log_price == number for number, one in found.items()), "each has its own listing's"
    assert asked["photo"] == np.flatnonzero(both < 0.5).tolist()
    assert asked["words"] == np.flatnonzero((both < 0.5) & (photo < 0.5)).tolist()
