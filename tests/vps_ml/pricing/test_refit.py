"""The model that prices: when a refit takes the place of the one that was judged."""

from pathlib import Path

import polars as pl
import pytest
from datasets import quick_recipe, sold_rows

from vps_ml.artefacts import Artefacts
from vps_ml.features.dataset import PricingDataset
from vps_ml.pricing import refit
from vps_ml.pricing.models import fit_variant, load_model
from vps_ml.pricing.refit import Refit, refitted
from vps_ml.pricing.variants import Variant


@pytest.mark.parametrize(
    ("made", "alike"),
    [(Refit("r", 100, 0.10, 0.5, 0.5, 0.7, 0.7, 0.02), True), (Refit("r", 100, 0.40, 0.5, 0.5, 0.7, 0.7, 0.02), False),
     (Refit("r", 1000, 0.1, 0.5, 0.5, 0.7, 0.95, 0.02), False), (Refit("r", 19, 0.0, 0.5, 0.5, 0.7, 0.7, 0.02), False),
     (Refit("r", 100, 0.1, 0.5, 0.55, 0.7, 0.7, 0.02), False), (Refit("r", 100, 0.1, 0.5, 0.55, 0.7, 0.7, 0.03), True)],
    ids=["near", "other prices", "another share", "of too few", "surely worse", "worse by chance"],
)  # fmt: skip
def test_a_refit_prices_only_if_it_behaves_like_what_was_judged(made: Refit, alike: bool) -> None:
    assert made.alike == alike
    assert ("served as r, fitted on nine tenths of all" in made.evidence) == alike


def test_why_there_is_no_refit_is_said_with_what_is_missing() -> None:
    nothing = [float("nan")] * 6
    assert (
        Refit(None, 19, *nothing).evidence
        == "no refit: of 20 test listings that it takes to compare one on there are 19"
    )
    assert Refit(None, 20, *nothing).evidence == "no refit: under 100 newer validation listings to calibrate one by"


def test_a_refit_learns_from_all_sold_listings_but_those_that_calibrate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts = Artefacts(tmp_path)
    side = pl.when(pl.col("time_role") == "train").then(pl.lit("train")).otherwise(pl.lit("validation"))
    rows = sold_rows(artefacts).with_columns(served_role=side)  # twenty test rows calibrate the refit
    dataset = PricingDataset(rows, quick_recipe(), artefacts)
    variant = Variant(constraint_kind="percentile", constraint_value=0.7, objective="cross_fitted", split_kind="time")
    judged_id = fit_variant(dataset, variant, lambda message: None)
    few = refitted(dataset, judged_id, lambda message: None)
    assert few.model_id is None and not few.alike  # some thirty calibrating rows
    monkeypatch.setattr(refit, "FEWEST_CALIBRATING", 0)
    many = refitted(dataset, judged_id, lambda message: None)
    assert many.shared == 20
    card = load_model(artefacts, str(many.model_id))[2]
    assert card["trained_on"] == rows.filter(rows["served_role"] == "train").height == 140
    assert card["split_kind"] == "served"
    calibrating = dataset.rows[dataset.calibrating("served")]["listed_on"]
    assert card["calibrated_on"] == calibrating.len() < dataset.role("served", "validation").size
    newer = dataset.rows[dataset.role("served", "validation")]["listed_on"].cast(pl.Int32).median()
    assert calibrating.cast(pl.Int32).min() >= newer
