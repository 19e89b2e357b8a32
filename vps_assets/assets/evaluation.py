"""How good the models are: predictions on test rows, reports, ablations."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain, table_options
from vps_assets.assets.pricing import Training, pricing_job
from vps_assets.report.figures import risk_coverage_curves
from vps_assets.warehouse.settings import Settings
from vps_ml.evaluation import metrics
from vps_ml.ops.pricing import (
    AblationResults,
    PredictionJob,
    PricingJob,
    predict_test_rows,
    train_and_predict_ablations,
)
from vps_ml.pricing.baselines import BASELINES
from vps_ml.pricing.variants import CALIBRATION, ablation_variants

ALL = "all"


def segment_row(predictions: pl.DataFrame, gated: bool, trained_gate: bool) -> dict:
    """The figures of one model on one segment's test rows.

    Args:
        predictions: of the segment's test rows.
        gated: whether the model can order them by qualification.
        trained_gate: whether 0.5 is a threshold that was trained.
    """
    error, low, high = (
        (predictions[name] - predictions["log_price"]).to_numpy()
        for name in ("predicted_log_price", "low_log_price", "high_log_price")
    )
    qualified = predictions["qualified"].to_numpy()
    accepted = error[qualified]
    risk = metrics.risk_coverage(error, predictions["qualification"].to_numpy(), predictions["listing_id"].to_numpy())
    some = bool(accepted.size)
    return {
        "tested": error.size,
        "qualified": int(qualified.sum()),
        "coverage": float(qualified.mean()),
        "raw_coverage": float((predictions["gate_logit"].to_numpy() >= 0).mean()) if trained_gate else None,
        "male": metrics.male(accepted) if some else None,
        "rmsle": metrics.rmsle(accepted) if some else None,
        "male_of_all": metrics.male(error),
        "aurc": metrics.aurc(risk) if gated else None,
        "risk_curve": metrics.risk_curve(risk) if gated else None,
        "male_of_top_half": metrics.male_of_top_half(risk) if gated else None,
        "range_coverage": float(((low <= 0) & (high >= 0))[qualified].mean()) if some else None,
        "range_width": float((high - low)[qualified].mean()) if some else None,
    }


def reports(
    predictions: pl.DataFrame, models: pl.DataFrame, category: pl.DataFrame, range_level: float, run_id: str
) -> pl.DataFrame:
    """One row per model and segment: all test rows, and each category's.

    `models` has the variants by `model_id`, `category` the category by `listing_id`.
    """
    now = datetime.now(UTC)
    by_model = predictions.join(category, on="listing_id", how="left").partition_by("model_id", as_dict=True)
    rows = []
    for model in models.iter_rows(named=True):
        mine = by_model[(model["model_id"],)]
        own_gate = model["constraint_kind"] != "baseline"
        gated = own_gate or BASELINES[model["objective"]].gated
        segments = {ALL: mine} | {name: part for (name,), part in mine.partition_by("category", as_dict=True).items()}
        for segment, part in segments.items():
            common = {"run_id": run_id, **model, "segment": segment, "range_level": range_level, "evaluated_at": now}
            rows.append(common | segment_row(part, gated, own_gate))
    return pl.DataFrame(rows, infer_schema_length=None)


def variants_of(models: pl.DataFrame) -> pl.DataFrame:
    """The models' variants, without their calibration."""
    return models.drop(*CALIBRATION, "trained_on", "path")


def report_markdown(rows: pl.DataFrame) -> str:
    """The rows over all test listings, for the Dagster UI."""
    lines = ["| model | split | coverage | MALE | RMSLE | AURC |", "|---|---|---|---|---|---|"]
    for row in (
        rows.filter(pl.col("segment") == ALL).sort("constraint_kind", "objective", "constraint_value").to_dicts()
    ):
        figures = [row["coverage"], row["male"], row["rmsle"], row["aurc"]]
        shown = " | ".join("" if value is None else f"{value:.4f}" for value in figures)
        name = f"{row['constraint_kind']} {row['constraint_value']} {row['objective']} {row['features']}"
        lines.append(f"| {name} | {row['split_kind']} | {shown} |")
    return "\n".join(lines)


@dg.op
def prediction_job(
    settings: Settings,
    rows: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
) -> PredictionJob:
    """All models, with the rows that they were trained on and are tested on."""
    models = pl.concat([percentile_pricing_models, threshold_pricing_models, baseline_pricing_models])
    return PredictionJob(rows, models, settings.recipe, settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_predictions(context: dg.OpExecutionContext, predictions: pl.DataFrame) -> pl.DataFrame:
    """Write the predictions."""
    context.add_output_metadata({"models": predictions["model_id"].n_unique()})
    return predictions


evaluation_predictions = op_chain(
    "evaluation_predictions",
    "evaluation",
    """Every model's predictions for the test rows of its split: one row per model and test listing.""",
    [sold_features, prediction_job, predict_test_rows, record_predictions],
)


@dg.asset(**table_options("evaluation_reports", "evaluation"))
def evaluation_reports(
    context: dg.AssetExecutionContext,
    settings: Settings,
    clean_listings: pl.DataFrame,
    evaluation_predictions: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """Coverage, MALE, RMSLE and AURC of every model and baseline, over all test rows and by category."""
    models = pl.concat([percentile_pricing_models, threshold_pricing_models, baseline_pricing_models])
    category = clean_listings.select("listing_id", "category")
    level = settings.recipe.range_level
    rows = reports(evaluation_predictions, variants_of(models), category, level, context.run_id)
    context.add_output_metadata(
        {
            "reports": dg.MetadataValue.md(report_markdown(rows)),
            "risk and coverage": risk_coverage_curves(rows, evaluation_predictions),
        }
    )
    return rows


@dg.op
def ablation_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The ablations' models, with their rows; STFE's are left out if the price backbone is not trained."""
    with_price = not rows.is_empty() and "price" in rows["tasks"][0]
    variants = tuple(v for v in ablation_variants(config.seeds) if with_price or v.features != "STFE")
    return pricing_job(context, settings, rows, variants)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_ablations(
    context: dg.OpExecutionContext, settings: Settings, trained: AblationResults, clean_listings: pl.DataFrame
) -> pl.DataFrame:
    """Evaluate the ablations' models; the reference model is part of both ablations."""
    category = clean_listings.select("listing_id", "category")
    models, level = variants_of(trained.models), settings.recipe.range_level
    rows = reports(trained.predictions, models, category, level, context.run_id)
    features = rows.filter(pl.col("warm_up")).with_columns(ablation=pl.lit("features"))
    warm_up = rows.filter(pl.col("features") == "MSTFE").with_columns(ablation=pl.lit("warm_up"))
    both = pl.concat([features, warm_up])
    context.add_output_metadata({"reports": dg.MetadataValue.md(report_markdown(both))})
    return both


ablation_reports = op_chain(
    "ablation_reports",
    "evaluation",
    """Tables 4 and 5: MSTFE against STFE, warm-up against none, at δ = 0.5 and ε = 0.5, for each seed.""",
    [sold_features, ablation_job, train_and_predict_ablations, record_ablations],
)
