"""What is learnt of errors does not move with price levels, nor what is learnt of prices with ratios."""

import numpy as np
import polars as pl
import pytest
from datasets import quick_recipe, sold_rows

from vps_ml.artefacts import Artefacts
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.pricing.baselines import BASELINES
from vps_ml.pricing.blends import Blend, predicted
from vps_ml.pricing.fitting import Fit
from vps_ml.pricing.models import fit_variant, load_model
from vps_ml.pricing.networks import mean_output, output
from vps_ml.pricing.trees import trees_error, trees_of, trees_price
from vps_ml.pricing.variants import Variant
from vps_ml.training_loop import Session


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PricingDataset:
    """Prices that go with levels, and errors that go with levels and ratios alike."""
    artefacts = Artefacts(tmp_path_factory.mktemp("hiding"))
    rng = np.random.default_rng(0)
    rows = sold_rows(artefacts, 400)
    level, ratio = rng.normal(size=(2, rows.height))
    price = 0.5 * (level + ratio) + rng.normal(size=rows.height) * np.where(level + ratio > 0, 1.0, 0.05)
    told = {"category_median": np.exp(level), "category_median_ratio": np.exp(ratio), "log_price": price}
    return PricingDataset(rows.with_columns(**{k: pl.Series(v) for k, v in told.items()}), quick_recipe(), artefacts)


def moved(dataset: PricingDataset, card: dict, learning: str) -> tuple[np.ndarray, np.ndarray]:
    """(features of all rows, the same with what this is not learnt from moved)."""
    x = dataset.matrix_of(card, np.arange(dataset.rows.height)).array()
    hidden = FeatureMap.load(dataset.artefacts, card["feature_map_id"]).hidden(learning)
    assert len(hidden) == (12 if learning == ERRORS else 8)
    elsewhere = x.copy()
    elsewhere[:, hidden] += 3
    return x, elsewhere


def variant(objective: str, kind: str = "percentile") -> Variant:
    return Variant(
        constraint_kind=kind, constraint_value=0.7, objective=objective, split_kind="group", features="MSTFE"
    )


@pytest.mark.parametrize("objective", ["cross_fitted", "blended"])
def test_a_gate_and_what_expects_errors_do_not_move_with_levels_nor_prices_with_ratios(
    dataset: PricingDataset, objective: str
) -> None:
    model_id = fit_variant(dataset, variant(objective), print)
    model, _, card = load_model(dataset.artefacts, model_id)
    x, elsewhere = moved(dataset, card, ERRORS)
    for network in (model.gate, model.scale):
        assert (output(network, x) == output(network, elsewhere)).all()
    price, other = moved(dataset, card, PRICES)
    assert (mean_output(model.regressors, price) == mean_output(model.regressors, other)).all()
    assert (mean_output(model.regressors, x) != mean_output(model.regressors, elsewhere)).any()
    if objective == "blended":
        blend = Blend.load(dataset.artefacts.models, card["blend_id"])
        zeros = np.zeros(len(x))
        assert (blend.error.expected_error(x, zeros) == blend.error.expected_error(elsewhere, zeros)).all()
        assert predicted(blend.kernel, price, blend.scale) == pytest.approx(predicted(blend.kernel, other, blend.scale))
        assert (trees_price(blend.trees, price) == trees_price(blend.trees, other)).all()
        assert (trees_price(blend.trees, x) != trees_price(blend.trees, elsewhere)).any()


def test_the_trees_error_model_does_not_move_with_levels(dataset: PricingDataset) -> None:
    trees_id = BASELINES["boosted_trees"].fit(dataset, variant("boosted_trees", "baseline"), print)
    models = dataset.artefacts.models
    x, elsewhere = moved(dataset, models.card(trees_id), ERRORS)
    error = models.text(trees_id, "error")
    assert (trees_error(error, x) == trees_error(error, elsewhere)).all()
    price, other = moved(dataset, models.card(trees_id), PRICES)
    boosters = trees_of(models.text(trees_id, "price"))
    assert (trees_price(boosters, price) == trees_price(boosters, other)).all()


def test_the_shared_error_network_is_the_folds_own(dataset: PricingDataset) -> None:
    folds = Fit(dataset, variant("cross_fitted"), Session(print)).folds
    hidden = dataset.matrix("MSTFE", "group")[1].hidden[ERRORS]
    assert (folds.scale.layers[0].weight[:, hidden] == 0).all()
    assert (folds.networks[0].layers[0].weight[:, hidden] != 0).any()


def test_a_gaussian_network_whose_prices_and_errors_are_one_sees_all(dataset: PricingDataset) -> None:
    ensemble_id = BASELINES["deep_ensemble"].fit(dataset, variant("deep_ensemble", "baseline"), print)
    weight = dataset.artefacts.models.arrays(ensemble_id, "state")["member0.layers.0.weight"]
    features = dataset.matrix("MSTFE", "group")[1].features
    assert (np.abs(weight[:, :features]).sum(axis=0) > 0).all()
