"""What a long training says while it goes on."""

from vps_ml.ops.pricing import log_at, place_of
from vps_ml.pricing.variants import SERVED, Variant

MODEL = Variant(**{**SERVED, "seed": 2, "features": "MSTFE"})


def test_each_line_says_which_model_of_how_many_with_which_seed_and_what_is_left() -> None:
    said: list[str] = []
    log_at(said.append, place_of(MODEL, 0, 20, 0.0), "folds")
    log_at(said.append, place_of(MODEL, 10, 20, 25.0), "folds")
    log_at(said.append, place_of(MODEL, 5, 20, 100.0), "folds")
    log_at(said.append, place_of(MODEL, 19, 20, 100.0), "folds")
    assert said == [
        "[1 of 20, seed 2] folds",
        "[11 of 20, seed 2] folds",
        "[6 of 20, seed 2, about 5 min left] folds",
        "[20 of 20, seed 2] folds",
    ]
