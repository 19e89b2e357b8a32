"""What only the demo marketplace can show."""

from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from conftest import Marketplace

from vps_assets.demo.catalogue import BROKEN_EFFECT, RECEIPT_EFFECT
from vps_assets.report.published import read_published
from vps_assets.report.truth import auroc_within, eye_log_price, limit_table, oracle, read_truth, with_interval


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


def test_an_aurocs_interval_has_the_truth_in_it_about_as_often_as_it_says() -> None:
    """Faulty photos .8 standard deviations lower, a tenth of 80 in four categories: the truth is Φ(.8 / √2)."""
    rng, truth, held, drawn = np.random.default_rng(0), NormalDist().cdf(0.8 / np.sqrt(2)), 0, 120
    for _ in range(drawn):
        faulty = rng.random(80) < 0.12
        judged = pl.DataFrame(
            {
                "category": rng.integers(0, 4, 80),
                "fault": pl.Series(["blur" if one else None for one in faulty], dtype=pl.String),
                "qualification": rng.normal(size=80) - 0.8 * faulty,
            }
        )
        low, high = with_interval(auroc_within(judged) or 0.5, judged).split("(")[1].strip(")").split(" to ")
        held += float(low) <= truth <= float(high)
    assert 0.9 * drawn <= held < drawn


def test_the_oracle_orders_items_by_how_scattered_their_kind_is() -> None:
    predictions = pl.DataFrame({"listing_id": ["a", "b"], "log_price": [3.0, 5.0]})
    truth = pl.DataFrame({"listing_id": ["a", "b"], "noise_free_log_price": [3.4, 5.1], "noise": [0.5, 0.2]})
    _, risk = oracle(predictions, truth)
    assert np.allclose(risk, [0.1, 0.25])


def test_an_eye_knows_neither_defects_nor_receipts() -> None:
    truth = pl.DataFrame(
        {
            "true_category": ["phone"] * 3 + ["dress"],
            "works": [True, False, True, True],
            "receipt": [False, False, True, True],
            "noise_free_log_price": [4.0, 3.0, 4.2, 2.0],
        }
    )
    as_seen = [4.0, 3.0 - BROKEN_EFFECT, 4.2 - RECEIPT_EFFECT, 2.0]  # the only dress is as the usual dress
    assert eye_log_price(truth)["eye_log_price"].to_list() == pytest.approx(as_seen)


def test_nothing_knows_more_than_the_oracle(marketplace: Marketplace) -> None:
    truth = read_truth(marketplace.home)
    assert truth is not None
    table = limit_table(read_published(marketplace.home), truth)
    for split in {row[0] for row in table.rows}:
        male = {row[1]: float(row[2]) for row in table.rows if row[0] == split}
        assert set(male) == {"the photo", "words", "photo and words", "an eye", "the oracle"}
        assert male["the oracle"] < male["an eye"]
        assert all(male["the oracle"] < male[name] for name in ("the photo", "words", "photo and words"))
