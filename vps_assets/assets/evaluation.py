"""How good the models are: predictions on test rows, reports, ablations."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options, table_options
from vps_assets.assets.pricing import Training, job_of, priced_rows
from vps_assets.report.figures import risk_coverage_curves
from vps_assets.warehouse.io_manager import Settings
from vps_ml.evaluation import metrics
from vps_ml.ops.pricing import (
    CALIBRATION,
    PredictionJob,
    PricingJob,
    ablation_variants,
    predict_test_rows,
    train_and_predict_ablations,
)

ALL = "all"


def segment_row(predictions: pl.DataFrame, gated: bool, trained_gate: bool) -> dict:
    """The figures of one model on one segment's test rows."""
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
    told = predictions.join(category, on="listing_id", how="left").partition_by("model_id", as_dict=True)
    rows = []
    for model in models.iter_rows(named=True):
        mine = told[(model["model_id"],)]
        gated = model["objective"] != "category_median"
        segments = {ALL: mine} | {name: part for (name,), part in mine.partition_by("category", as_dict=True).items()}
        for segment, part in segments.items():
            common = {"run_id": run_id, **model, "segment": segment, "range_level": range_level, "evaluated_at": now}
            rows.append(common | segment_row(part, gated, model["constraint_kind"] != "baseline"))
    return pl.DataFrame(rows, infer_schema_length=None)


def variants_of(models: pl.DataFrame) -> pl.DataFrame:
    """What tells the models apart, without their calibration."""
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
    return PredictionJob(rows, models, settings.recipe, settings.home)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_predictions(context: dg.OpExecutionContext, predictions: pl.DataFrame) -> pl.DataFrame:
    """Write the predictions."""
    context.add_output_metadata({"models": predictions["model_id"].n_unique()})
    return predictions


@dg.graph_asset(**graph_options("evaluation_predictions", "evaluation", {"pytorch", "duckdb"}))
def evaluation_predictions(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """What every model says of the test rows of its split: one row per model and test listing."""
    statistics = marketplace_statistics, category_statistics, seller_statistics
    rows = priced_rows(clean_listings, image_embeddings, *statistics)
    job = prediction_job(rows, percentile_pricing_models, threshold_pricing_models, baseline_pricing_models)
    return record_predictions(predict_test_rows(job))


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
    """The ablations' models, with their rows; STFE's are left out where the price backbone is not trained."""
    with_price = not rows.is_empty() and "price" in rows["tasks"][0]
    variants = tuple(v for v in ablation_variants(config.seeds) if with_price or v.features != "STFE")
    return job_of(context, settings, rows, variants)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_ablations(
    context: dg.OpExecutionContext, settings: Settings, trained: dict, clean_listings: pl.DataFrame
) -> pl.DataFrame:
    """Judge the ablations' models; the reference model stands in both ablations."""
    category = clean_listings.select("listing_id", "category")
    models, level = variants_of(trained["models"]), settings.recipe.range_level
    rows = reports(trained["predictions"], models, category, level, context.run_id)
    features = rows.filter(pl.col("warm_up")).with_columns(ablation=pl.lit("features"))
    warm_up = rows.filter(pl.col("features") == "MSTFE").with_columns(ablation=pl.lit("warm_up"))
    told = pl.concat([features, warm_up])
    context.add_output_metadata({"reports": dg.MetadataValue.md(report_markdown(told))})
    return told


@dg.graph_asset(**graph_options("ablation_reports", "evaluation", {"pytorch", "duckdb"}))
def ablation_reports(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """Tables 4 and 5: MSTFE against STFE, warm-up against none, at δ = 0.5 and ε = 0.5, for each seed."""
    statistics = marketplace_statistics, category_statistics, seller_statistics
    job = ablation_job(priced_rows(clean_listings, image_embeddings, *statistics))
    return record_ablations(train_and_predict_ablations(job), clean_listings)
