"""Objectives and baselines by name: registered ones reach the tables, others are refused before any training."""

from pathlib import Path
from unittest.mock import Mock

import dagster as dg
import numpy as np
import polars as pl
import pytest
from datasets import quick_recipe, sold_rows
from polars.testing import assert_frame_equal

from vps_assets.assets.evaluation import reports, variants_of, with_male_of_landed
from vps_assets.lineage.fingerprints import part_of
from vps_assets.lineage.graph import LINEAGE
from vps_assets.report.published import Published
from vps_assets.report.tables import baseline_table
from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.cards import Contents
from vps_ml.features.dataset import PricingDataset
from vps_ml.ops.pricing import PricingJob, predictions_of_test_rows, train_pricing_models
from vps_ml.pricing.baselines import (
    BASELINES,
    Baseline,
    BoostedTrees,
    DeepEnsemble,
    GaussianNetwork,
    baseline_variants,
    check_kinds,
)
from vps_ml.pricing.calibration import Calibration, Judgement, calibrated, calibration_of
from vps_ml.pricing.models import Predictions, fit_variant, load_model
from vps_ml.pricing.networks import PricingModel
from vps_ml.pricing.variants import Variant, model_variants


class AlwaysTheMean(Baseline):
    """The mean log price of the training rows; a listing of many marketplace sales is the more qualified."""

    kind = "always_the_mean"

    def fitted(self, dataset: PricingDataset, variant: Variant, *rest: object) -> Contents:
        train = dataset.role(variant.split_kind, "train")
        return Contents({}, arrays={"mean": {"mean": np.array([dataset.log_price[train].mean()])}})

    def judge(self, dataset: PricingDataset, variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        mean = dataset.artefacts.models.arrays(model_id, "mean")["mean"][0]
        gate = dataset.rows["marketplace_sales"].to_numpy()[rows]
        return Judgement(np.full(len(rows), mean), gate, np.ones(len(rows)))


def job(folder: Path, *variants: Variant) -> PricingJob:
    artefacts = Artefacts(folder)
    return PricingJob(sold_rows(artefacts), variants, quick_recipe(), artefacts)


def trained(made: PricingJob) -> pl.DataFrame:
    return train_pricing_models(dg.build_op_context(), job=made)


def log(message: str) -> None:
    """No log."""


@pytest.mark.parametrize("kind", ["baseline", "percentile"])
def test_a_name_that_is_not_registered_is_refused_before_anything_is_trained(tmp_path: Path, kind: str) -> None:
    """The good variant comes first: it would have been trained."""
    good = model_variants("percentile", 0.5, 1)[0]
    wrong = Variant(constraint_kind=kind, constraint_value=0.5, objective="nearest_neighbours")
    made = job(tmp_path, good, wrong)
    before = made.artefacts.models.ids()
    with pytest.raises(ValueError, match="'nearest_neighbours'; there are"):
        trained(made)
    assert made.artefacts.models.ids() == before


def test_a_new_baseline_reaches_the_tables_and_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BASELINES, "always_the_mean", AlwaysTheMean())
    chosen = [v for v in baseline_variants(1) if v.objective in ("always_the_mean", "category_median")]
    assert len(chosen) == 2 * (6 + 1)
    made = job(tmp_path, *chosen)
    models = trained(made)
    dataset = PricingDataset(made.rows, made.recipe, made.artefacts)
    predictions = predictions_of_test_rows(dataset, models)
    items = made.rows.select("listing_id", "category", "group_key")
    rows = with_male_of_landed(reports(predictions, variants_of(models), items, 0.8, "run"), predictions.clear())
    own = rows.filter(pl.col("objective") == "always_the_mean", pl.col("segment") == "all")
    assert own.height == 2 * 6
    assert own["aurc"].null_count() == 0
    mean = dataset.log_price[dataset.role("group", "train")].mean()
    of_own = predictions.filter(pl.col("model_id").str.starts_with("always_the_mean"))
    assert of_own["predicted_log_price"].unique().to_list() == pytest.approx([mean])
    published = Published({"evaluation_reports": rows.with_columns(pl.col("aurc").cast(pl.Float64))})
    assert "always the mean" in {row[1] for row in baseline_table(published, "group").rows}


def test_two_baselines_of_one_kind_are_refused_unless_one_says_that_it_shares() -> None:
    """The second would stand in the tables with the first's figures."""

    class Large(DeepEnsemble):
        members = 8

    class OfOne(GaussianNetwork):
        pass

    for twin in (Large(), OfOne()):
        with pytest.raises(ValueError, match="deep_ensemble and twin would have one artefact"):
            check_kinds({**BASELINES, "twin": twin})
    assert check_kinds(BASELINES) is BASELINES


def test_a_baseline_that_is_gone_is_named_where_its_models_are_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(tmp_path, Variant(constraint_kind="baseline", constraint_value=1.0, objective="category_median"))
    models = trained(made)
    monkeypatch.delitem(BASELINES, "category_median")
    with pytest.raises(ValueError, match="no baseline is called 'category_median'"):
        predictions_of_test_rows(PricingDataset(made.rows, made.recipe, made.artefacts), models)


def test_a_baselines_version_makes_it_again_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = {"constraint_kind": "baseline", "constraint_value": 0.5}
    trees, network = (Variant(objective=name, **read) for name in ("boosted_trees", "gaussian_network"))
    made = job(tmp_path, trees, network)
    dataset = PricingDataset(made.rows, made.recipe, made.artefacts)
    before = [fit_variant(dataset, variant, log) for variant in (trees, network)]
    assert [fit_variant(dataset, variant, log) for variant in (trees, network)] == before
    monkeypatch.setattr(BoostedTrees, "version", "9")
    after = [fit_variant(dataset, variant, log) for variant in (trees, network)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_new_or_changed_baseline_makes_the_baselines_table_out_of_date_and_no_price_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assets = ("baseline_pricing_models", "percentile_pricing_models", "ablation_pricing_models")
    before = [part_of.__wrapped__(asset, LINEAGE[asset], quick_recipe()) for asset in assets]
    monkeypatch.setitem(BASELINES, "always_the_mean", AlwaysTheMean())
    added = [part_of.__wrapped__(asset, LINEAGE[asset], quick_recipe()) for asset in assets]
    monkeypatch.delitem(BASELINES, "always_the_mean")
    monkeypatch.setattr(BoostedTrees, "version", "9")
    changed = [part_of.__wrapped__(asset, LINEAGE[asset], quick_recipe()) for asset in assets]
    monkeypatch.delitem(BASELINES, "gaussian_network")
    removed = [part_of.__wrapped__(asset, LINEAGE[asset], quick_recipe()) for asset in assets]
    assert len({before[0], added[0], changed[0], removed[0]}) == 4
    assert before[1:] == added[1:] == changed[1:] == removed[1:]


def test_the_gaussian_network_and_the_ensemble_are_read_from_one_artefact(tmp_path: Path) -> None:
    read = {"constraint_kind": "baseline", "constraint_value": 0.5}
    made = job(tmp_path, *(Variant(objective=name, **read) for name in ("gaussian_network", "deep_ensemble")))
    models = trained(made)
    assert models["path"].n_unique() == 1
    assert models["model_id"].n_unique() == 2
    dataset = PricingDataset(made.rows, made.recipe, made.artefacts)
    predictions = predictions_of_test_rows(dataset, models)
    one, five = predictions.partition_by("model_id", maintain_order=True)
    assert not one["predicted_log_price"].equals(five["predicted_log_price"])


def test_a_model_keeps_what_it_predicted_of_rows_that_are_as_they_were_and_predicts_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baselines, too: they are calibrated when they are fitted, as price models are."""
    median = Variant(constraint_kind="baseline", constraint_value=1.0, objective="category_median")
    made = job(tmp_path, model_variants("percentile", 0.5, 1)[0], model_variants("percentile", 0.7, 1)[0], median)
    dataset, models = PricingDataset(made.rows, made.recipe, made.artefacts), trained(made)
    first = predictions_of_test_rows(dataset, models, version="1")
    ids = first["listing_id"].unique().sort().to_list()
    assert first["made_from"].null_count() == 0
    asked: dict[str, list[str]] = {}
    predict = Predictions.of

    def asking(
        self: Predictions, variant: Variant, model_id: str, calibration: Calibration, rows: np.ndarray
    ) -> pl.DataFrame:
        asked[model_id] = sorted(self.dataset.listing_id[rows])
        return predict(self, variant, model_id, calibration, rows)

    monkeypatch.setattr(Predictions, "of", asking)
    sold_more = pl.when(pl.col("listing_id") == ids[0]).then(99).otherwise(pl.col("marketplace_sales"))
    later = PricingDataset(made.rows.with_columns(marketplace_sales=sold_more), made.recipe, made.artefacts)
    marked = pl.when(pl.col("listing_id") == ids[1]).then(-7.0).otherwise(pl.col("predicted_log_price"))
    second = predictions_of_test_rows(later, models, first.with_columns(predicted_log_price=marked), "1")
    assert list(asked.values()) == [[ids[0]]] * 3
    assert second.columns == first.columns and second["listing_id"].equals(first["listing_id"])
    assert second.filter(predicted_log_price=-7.0)["listing_id"].to_list() == [ids[1]] * 3
    anew = predictions_of_test_rows(later, models, version="1")
    assert_frame_equal(predictions_of_test_rows(later, models, first, "1"), anew)
    asked.clear()
    predictions_of_test_rows(dataset, models, second, "2")
    assert list(asked.values()) == [ids] * 3, "by other code"


@pytest.mark.parametrize("name", ["category_median", "boosted_trees"])
def test_a_baseline_says_the_same_of_a_row_whatever_has_sold_since(tmp_path: Path, name: str) -> None:
    """Its cut and its range are those of the validation rows that it was fitted beside, not of today's."""
    read = Variant(constraint_kind="baseline", constraint_value=0.5, objective=name)
    made = job(tmp_path, read)
    models, dataset = trained(made), PricingDataset(made.rows, made.recipe, made.artefacts)
    row, validation = models.row(0, named=True), dataset.role("group", "validation")
    predictions = Predictions(dataset)
    judged = predictions.judged(read, id_in_path(row["path"]), validation)
    expected = calibrated(judged, dataset.log_price[validation], 0.5, made.recipe.range_level)
    assert len(predictions.judged(read, id_in_path(row["path"]), validation[:3]).log_price) == 3
    assert len(predictions.judged(read, id_in_path(row["path"]), validation[:0]).log_price) == 0
    assert calibration_of(row) == expected
    learnt = pl.col("group_role").is_in(["train", "validation"])
    dearer = made.rows.with_columns(log_price=pl.when(learnt).then(pl.col("log_price") * 3).otherwise("log_price"))
    later = PricingDataset(dearer, made.recipe, made.artefacts)
    same = [column for column in predictions_of_test_rows(dataset, models).columns if column != "made_from"]
    assert_frame_equal(
        predictions_of_test_rows(later, models).select(same), predictions_of_test_rows(dataset, models).select(same)
    )


def test_a_baseline_of_an_older_version_is_named_with_what_calibrates_it(tmp_path: Path) -> None:
    made = job(tmp_path, Variant(constraint_kind="baseline", constraint_value=1.0, objective="category_median"))
    nothing = pl.lit(None, pl.Float64)
    older = trained(made).with_columns(range_low=nothing, path=nothing.cast(pl.String))  # nothing was kept of it
    with pytest.raises(ValueError, match=r"category_median-group-1.0-\w+ has no calibration.*`vps run`"):
        predictions_of_test_rows(PricingDataset(made.rows, made.recipe, made.artefacts), older)


def test_where_there_are_no_test_rows_there_are_no_predictions(tmp_path: Path) -> None:
    made = job(tmp_path, model_variants("percentile", 0.5, 1)[0])
    models = trained(made)
    without = made.rows.with_columns(group_role=pl.col("group_role").replace({"test": None}))
    predicted = predictions_of_test_rows(PricingDataset(without, made.recipe, made.artefacts), models)
    assert predicted.height == 0 and "predicted_log_price" in predicted.columns


@pytest.mark.parametrize("objective", ["cross_fitted", "blended"])
def test_models_of_several_deltas_are_judged_as_each_by_itself_and_what_they_share_once(
    tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another seed the networks are others, though the rows are the same."""
    at = [(0.5, 0), (0.7, 0), (0.5, 1)]
    variants = [
        Variant(constraint_kind="percentile", constraint_value=value, objective=objective, seed=seed)
        for value, seed in at
    ]
    made = job(tmp_path, *variants)
    dataset, models = PricingDataset(made.rows, made.recipe, made.artefacts), trained(made)
    test, expected = dataset.role("group", "test"), []
    for model_id in models["model_id"]:
        model, calibration, card = load_model(made.artefacts, model_id)
        judged = model.judge(dataset.matrix_of(card, test))
        expected.append((judged.log_price, calibration.qualification(judged), *calibration.log_range(judged)))
    counted = Mock(wraps=PricingModel.priced)
    monkeypatch.setattr(PricingModel, "priced", lambda *arguments: counted(*arguments))
    predictions = Predictions(dataset)
    for variant, model_id, values in zip(variants, models["model_id"], expected, strict=True):
        found = predictions.of(variant, model_id, predictions.calibration(variant, model_id), test)
        names = ("predicted_log_price", "qualification", "low_log_price", "high_log_price")
        for name, value in zip(names, values, strict=True):
            assert found[name].to_numpy() == pytest.approx(value), name
    assert counted.call_count == 2
    assert predictions.of(variants[0], models["model_id"][0], calibration, np.empty(0, dtype=np.int64)).height == 0
    assert not np.allclose(expected[0][0], expected[2][0])


@pytest.mark.parametrize("objective", ["paper", "cross_fitted", "blended"])
def test_a_fitted_model_is_fitted_once_and_loads_with_its_calibration_and_card(tmp_path: Path, objective: str) -> None:
    variant = Variant(constraint_kind="percentile", constraint_value=0.5, objective=objective)
    made = job(tmp_path, variant)
    dataset = PricingDataset(made.rows, made.recipe, made.artefacts)
    model_id = fit_variant(dataset, variant, log)
    trained_at = {path.stat().st_mtime_ns for path in made.artefacts.models.folder.glob(f"{model_id}/*")}
    assert fit_variant(PricingDataset(made.rows, made.recipe, made.artefacts), variant, log) == model_id
    assert {path.stat().st_mtime_ns for path in made.artefacts.models.folder.glob(f"{model_id}/*")} == trained_at
    model, calibration, card = load_model(made.artefacts, model_id)
    assert len(model.regressors) == {"paper": 1, "cross_fitted": 2, "blended": 2}[objective]
    validation = dataset.role("group", "validation")
    judged = model.judge(dataset.matrix_of(card, validation))
    assert (calibration.qualification(judged) >= 0.5).mean() == pytest.approx(0.5, abs=0.02)
    assert card["trained_on"] == 140
    folds = {"fold 1 of 2", "fold 2 of 2", "expected error", "gate"}
    assert set(card["curves"]) == {"paper": {"joint", "expected error"}}.get(objective, folds)
    assert all(len(curve["training"]) >= 1 and not curve["held_out"] for curve in card["curves"].values()), (
        "this recipe does not stop early"
    )
