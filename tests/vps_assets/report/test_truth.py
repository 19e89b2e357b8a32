"""What only the demo marketplace can show."""

import numpy as np
import polars as pl
import pytest

from vps_assets.report.truth import auroc_within, oracle


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
