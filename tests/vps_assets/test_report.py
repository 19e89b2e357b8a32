import numpy as np
import polars as pl
import pytest

from vps_assets.report.shapes import beats, margin, rises
from vps_assets.report.tables import over_seeds, range_bar
from vps_assets.report.truth import auroc_within, oracle


def seeds(*values: float) -> pl.DataFrame:
    return pl.DataFrame({"seed": range(len(values)), "aurc": values})


def test_a_margin_is_paired_by_seed() -> None:
    # 0.1, 0.3, 0.2: mean 0.2, deviation 0.1, over the root of 3
    gain, error = margin(seeds(0.4, 0.4, 0.5), seeds(0.5, 0.7, 0.7), "aurc")
    assert gain == pytest.approx(0.2)
    assert error == pytest.approx(0.1 / 3**0.5)


def test_one_seed_has_no_standard_error() -> None:
    assert margin(seeds(0.4), seeds(0.5), "aurc") == (pytest.approx(0.1), None)
    assert over_seeds(seeds(0.4), "aurc") == "0.4000"
    assert over_seeds(seeds(0.4, 0.6), "aurc") == "0.5000 ± .1000"


def test_a_claim_that_does_not_hold_is_told_as_such() -> None:
    assert beats("ours is better", seeds(0.5), seeds(0.4), "aurc").holds is False
    assert beats("ours is better", seeds(0.5), seeds().cast({"aurc": pl.Float64}), "aurc").holds is None


def test_rising_allows_for_noise_but_not_for_a_fall() -> None:
    assert rises("", [0.40, 0.41, 0.407, 0.43]).holds is True
    assert rises("", [0.40, 0.43, 0.42]).holds is False
    assert rises("", [0.40, 0.399, 0.398]).holds is False
    assert rises("", [0.40]).holds is None


def test_a_range_may_be_off_by_two_points_or_three_standard_errors() -> None:
    assert range_bar(0.8, 100) == pytest.approx(0.12)
    assert range_bar(0.8, 1_000_000) == 0.02


def test_auroc_within_category_does_not_reward_knowing_the_category() -> None:
    """Category b is always judged lower and has more spoilt photos; inside each the gate knows nothing."""
    judged = pl.DataFrame(
        {
            "category": ["a"] * 4 + ["b"] * 4,
            "fault": ["blur", None, None, None, "dark", "dark", "dark", None],
            "qualification": [0.9] * 4 + [0.1] * 4,
        }
    )
    assert auroc_within(judged) == pytest.approx(0.5)
    seen = judged.with_columns(qualification=pl.col("fault").is_null().cast(pl.Float64))
    assert auroc_within(seen) == pytest.approx(1.0)


def test_the_oracle_orders_items_by_how_scattered_their_kind_is() -> None:
    predictions = pl.DataFrame({"listing_id": ["a", "b"], "log_price": [3.0, 5.0]})
    truth = pl.DataFrame({"listing_id": ["a", "b"], "noise_free_log_price": [3.4, 5.1], "noise": [0.5, 0.2]})
    _, risk = oracle(predictions, truth)
    assert np.allclose(risk, [0.1, 0.25])
