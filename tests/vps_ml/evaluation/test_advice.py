"""What helps whom: shares and gains by hand."""

import numpy as np
import polars as pl
import pytest

from vps_ml.evaluation.advice import blanked, gains
from vps_ml.features.given import SAID, inputs_of_rows

ROWS = pl.DataFrame(
    {
        "title": ["lamp", None, None, None],
        "description": [None, None, None, None],
        "brand": [None, "Acme", None, None],
        "condition": [None, None, None, None],
        "attributes": [None, None, [], ["white"]],
        "specifications": [None, None, None, []],
        "text_id": ["t"] * 4,
    },
    schema_overrides={"description": pl.String, "condition": pl.String, "specifications": pl.List(pl.String)},
)


def test_a_listing_is_priced_by_both_where_its_seller_says_anything() -> None:
    assert inputs_of_rows(ROWS).to_list() == ["both", "both", "photo", "both"]
    assert set(SAID) == {"title", "description", "brand", "condition", "attributes", "specifications"}
    assert inputs_of_rows(blanked(ROWS, SAID)).to_list() == ["photo"] * 4


def test_words_that_are_blanked_are_read_again_and_labels_are_not() -> None:
    assert "text_id" not in blanked(ROWS, ("title", "description")).columns
    known = ROWS.with_columns(brand_log_ratio=pl.lit(0.5), condition_log_ratio=pl.lit(0.2))
    silent = blanked(known, ("brand",))
    assert "text_id" in silent.columns
    assert silent["brand_log_ratio"].null_count() == 4 and silent["condition_log_ratio"].null_count() == 0


def test_gains_are_of_those_that_were_refused_by_the_inputs_of_before() -> None:
    before, after = np.array([0.4, 0.2, 0.1, 0.9]), np.array([0.6, 0.4, 0.7, 0.2])
    both, photo = gains("brand", ROWS, before, after, np.array([True] * 4))
    assert (both["inputs"], both["refused"], both["priced_share"]) == ("both", 2, 0.5)
    assert both["gain"] == pytest.approx(0.2)
    assert (photo["inputs"], photo["refused"], photo["priced_share"]) == ("photo", 1, 1.0)
    assert gains("brand", ROWS, before, after, np.array([False] * 4)) == []
    reference = np.array([0.55, 0.3, 0.6, 0.9])  # without it, by the model that judges with it
    both, photo = gains("brand", ROWS, before, after, np.array([True] * 4), reference=reference)
    assert both["gain"] == pytest.approx(0.075) and both["priced_share"] == 0.0
    assert photo["gain"] == pytest.approx(0.1) and photo["priced_share"] == 0.0
    (words,) = gains("photo", ROWS, before, after, np.array([True] * 4), before_by="words")
    assert (words["inputs"], words["refused"]) == ("words", 3)
