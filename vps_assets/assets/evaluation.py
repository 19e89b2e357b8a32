"""How good the models are: predictions on test rows, reports, ablations."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain, table_options
from vps_assets.assets.unchanged import earlier
from vps_assets.orchestration.tracking import log_reports
from vps_assets.report.figures import risk_coverage_curves
from vps_assets.warehouse.settings import Settings
from vps_ml.backbones.tasks import WORDS, can_serve, inputs_of, sees_words
from vps_ml.evaluation.resampling import Draws, numbered
from vps_ml.evaluation.segments import DTYPES, Outcomes, figures_of
from vps_ml.ops.pricing import PredictionJob, predict_test_rows
from vps_ml.pricing.baselines import is_gated
from vps_ml.pricing.calibration import ALL
from vps_ml.pricing.chosen import by_words_alone
from vps_ml.pricing.variants import CALIBRATION, SERVED

ITEMS = {"clean_listings": ("listing_id", "category", "group_key")}
"""What the evaluation has to know of a listing beside the models' predictions."""


@threadpool_limits.wrap(limits=1)  # most segments are small: threads would wait for each other
def reports(
    predictions: pl.DataFrame, models: pl.DataFrame, items: pl.DataFrame, range_level: float, run_id: str
) -> pl.DataFrame:
    """One row per model and segment: all test rows, and each category's.

    `models` has the variants by `model_id`, `items` the category and the group by `listing_id`.
    """
    columns: dict[str, list[Any]] = defaultdict(list)
    ordered = predictions.join(items, on="listing_id", how="left").sort("listing_id")
    by_model = ordered.partition_by("model_id", as_dict=True)
    for of_split in models.partition_by("split_kind"):
        ids = of_split["model_id"].to_list()
        tested, rows = Outcomes.of_models([by_model[(one,)] for one in ids]), by_model[(ids[0],)]
        own_gate = of_split["constraint_kind"] != "baseline"
        kinds = of_split.select("constraint_kind", "objective").iter_rows()
        gated = np.array([is_gated(kind, objective) for kind, objective in kinds])
        category, group = rows["category"].to_numpy(), rows["group_key"].to_numpy()
        for segment in (ALL, *rows["category"].unique().sort()):
            among = np.flatnonzero(np.full(len(category), True) if segment == ALL else category == segment)
            draws = Draws(numbered(group[among]))  # one segment's at a time: they are many numbers
            figures = figures_of(tested.among(among), gated, own_gate.to_numpy(), draws)
            for name, values in {"model_id": ids, "segment": [segment] * len(ids), **figures}.items():
                columns[name] += values
    if not columns:
        return pl.DataFrame()
    run = {"run_id": run_id, "range_level": range_level, "evaluated_at": datetime.now(UTC)}
    figures_by_model = pl.DataFrame(columns, schema_overrides=DTYPES).with_columns(
        **{name: pl.lit(value) for name, value in run.items()}
    )
    return figures_by_model.join(models, on="model_id", how="left", maintain_order="left")


def with_male_of_landed(rows: pl.DataFrame, beyond: pl.DataFrame) -> pl.DataFrame:
    """The reports with the error over all landed test prices, irrational ones too: in the rows of all listings."""
    error = (pl.col("predicted_log_price") - pl.col("log_price")).abs()
    sums = beyond.group_by("model_id").agg(_sum=error.sum(), out_of_bounds=pl.len().cast(pl.Int64))
    count = pl.col("out_of_bounds")
    both = (pl.col("male_of_all") * pl.col("tested") + pl.col("_sum")) / (pl.col("tested") + count)
    joined = rows.join(sums, on="model_id", how="left", maintain_order="left").with_columns(
        pl.col("_sum").fill_null(0.0), count.fill_null(0)
    )
    whole = pl.col("segment") == ALL
    landed = [pl.when(whole).then(both).alias("male_of_landed"), pl.when(whole).then(count).alias("out_of_bounds")]
    return joined.with_columns(landed).drop("_sum")


def variants_of(models: pl.DataFrame) -> pl.DataFrame:
    """The models' variants, without their calibration."""
    return models.drop(*CALIBRATION, "trained_on", "path")


def each_once(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The models of several tables; one that stands in two, as it stands in the first."""
    return pl.concat(tables).unique("model_id", keep="first", maintain_order=True)


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


PLOTTED = ("male", "aurc", "coverage", "range_coverage")


def headline_figures(rows: pl.DataFrame) -> dict[str, float]:
    """Of the served kind of model and of the baseline with the lowest AURC, in each split: what the UI plots over runs.

    The baseline is read at the served coverage; each is the mean over its seeds.
    """
    whole = rows.filter(pl.col("segment") == ALL)
    served = whole.filter(*(pl.col(name) == value for name, value in SERVED.items() if name != "seed"))
    baselines = whole.filter(
        pl.col("constraint_kind") == "baseline", pl.col("constraint_value") == SERVED["constraint_value"]
    )
    figures: dict[str, float] = {}
    for name, kind in (("served model", served), ("best baseline", baselines)):
        means = kind.group_by("split_kind", "objective").agg(pl.col(PLOTTED).mean()).sort("aurc", "objective")
        for row in means.unique("split_kind", keep="first", maintain_order=True).to_dicts():
            of = f"({name}, {row['split_kind']} split)"
            figures |= {f"{figure} {of}": row[figure] for figure in PLOTTED if row[figure] is not None}
    return figures


@dg.op
def prediction_job(
    settings: Settings,
    rows: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
    ablation_pricing_models: pl.DataFrame,
    words_pricing_models: pl.DataFrame,
) -> PredictionJob:
    """All models, each once, with the rows that they were trained on and are tested on."""
    tables = [
        percentile_pricing_models,
        threshold_pricing_models,
        baseline_pricing_models,
        ablation_pricing_models,
        words_pricing_models,
    ]
    before = earlier(settings, "evaluation_predictions")
    return PredictionJob(rows, each_once(tables), settings.recipe, settings.artefacts, **before)


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


@dg.asset(**table_options("evaluation_reports", "evaluation", ITEMS))
def evaluation_reports(
    context: dg.AssetExecutionContext,
    settings: Settings,
    mlflow: dg.ResourceParam[Any],
    clean_listings: pl.DataFrame,
    evaluation_predictions: pl.DataFrame,
    out_of_bounds_predictions: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """Coverage, MALE, RMSLE and AURC of every model and baseline, over all test rows and by category."""
    models = pl.concat([percentile_pricing_models, threshold_pricing_models, baseline_pricing_models])
    level = settings.recipe.range_level
    rows = reports(evaluation_predictions, variants_of(models), clean_listings, level, context.run_id)
    rows = with_male_of_landed(rows, out_of_bounds_predictions)
    context.add_output_metadata(
        {
            "reports": dg.MetadataValue.md(report_markdown(rows)),
            "risk and coverage": risk_coverage_curves(rows, evaluation_predictions),
            **headline_figures(rows),
        }
    )
    log_reports(mlflow, context, rows, models, settings.artefacts, settings.recipe.name)
    return rows


@dg.asset(**table_options("ablation_reports", "evaluation", ITEMS))
def ablation_reports(
    context: dg.AssetExecutionContext,
    settings: Settings,
    mlflow: dg.ResourceParam[Any],
    clean_listings: pl.DataFrame,
    evaluation_predictions: pl.DataFrame,
    ablation_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """Tables 4 and 5: which features, warm-up against none, at δ = 0.5 and ε = 0.5, for each seed.

    The reference model is part of both ablations. `tuning` has the served kind on every kind of features.
    """
    models = variants_of(ablation_pricing_models)
    rows = reports(evaluation_predictions, models, clean_listings, settings.recipe.range_level, context.run_id)
    paper = rows.filter(pl.col("objective") == "paper")
    parts = {
        "features": paper.filter(pl.col("warm_up")),
        "warm_up": paper.filter(pl.col("features") == "MSTFE"),
        "tuning": rows.filter(pl.col("objective") != "paper"),
    }
    both = pl.concat([part.with_columns(ablation=pl.lit(name)) for name, part in parts.items()])
    context.add_output_metadata({"reports": dg.MetadataValue.md(report_markdown(both))})
    log_reports(mlflow, context, both, ablation_pricing_models, settings.artefacts, settings.recipe.name)
    return both


@dg.asset(**table_options("words_reports", "evaluation", ITEMS))
def words_reports(
    context: dg.AssetExecutionContext,
    settings: Settings,
    mlflow: dg.ResourceParam[Any],
    clean_listings: pl.DataFrame,
    evaluation_predictions: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    words_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """What the seller's words are worth: models of the photo, of words and of both, on the same test rows.

    Beside the figures of `evaluation_reports`: of the rows that the photo alone could not price, how many a model
    prices when it qualifies as many as keep the photo's own error.
    """
    served = percentile_pricing_models.filter(
        *(pl.col(name) == value for name, value in SERVED.items() if name != "seed")
    )
    both = pl.concat([served, words_pricing_models])
    models = variants_of(both)
    level = settings.recipe.range_level
    rows = reports(evaluation_predictions, models, clean_listings, level, context.run_id)
    rows = rows.with_columns(inputs=pl.col("features").map_elements(inputs_of, pl.String))
    rows = rows.join(rescued(evaluation_predictions, models), on="model_id", how="left", maintain_order="left")
    whole = pl.col("segment") == ALL
    of_photo = ("refused_by_photo", "priced_of_these", "gained", "lost", *BY_WORDS)
    rows = rows.with_columns(pl.when(whole).then(name) for name in of_photo)
    context.add_output_metadata({"reports": dg.MetadataValue.md(report_markdown(rows))})
    log_reports(mlflow, context, rows, both, settings.artefacts, settings.recipe.name)
    return rows


def rescued(predictions: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """Of each model: how many test rows the served model of the photo refuses, and how many of them it would price.

    `priced_of_these` reads a model of words at the largest coverage at which its error is at most that of the photo's
    model on the rows that this qualifies: what is possible without worse prices, whatever its gate is set to. `gained`
    and `lost` are by its own gate. `by_words` are what words alone price beside a model of photo and words.
    """
    served = (pl.col(name) == value for name, value in SERVED.items() if name != "seed")
    photos = {
        (row["split_kind"], row["seed"]): row["model_id"]
        for row in models.filter(*served).to_dicts()
        if not sees_words(row["features"])
    }
    error = (pl.col("predicted_log_price") - pl.col("log_price")).abs()
    by_model = predictions.with_columns(error=error).sort("listing_id").partition_by("model_id", as_dict=True)
    rows = []
    for model in models.to_dicts():
        photo_id = photos.get((model["split_kind"], model["seed"]))
        if photo_id is None or not sees_words(model["features"]):
            continue
        photo, own = by_model[(photo_id,)], by_model[(model["model_id"],)]
        refused = ~photo["qualified"].to_numpy()
        taken = photo["error"].to_numpy()[~refused]
        share = None
        if refused.any() and taken.size:
            order = np.argsort(-own["qualification"].to_numpy(), kind="stable")
            running = np.cumsum(own["error"].to_numpy()[order]) / np.arange(1, own.height + 1)
            within = np.flatnonzero(running <= taken.mean())
            priced = order[: within[-1] + 1] if within.size else order[:0]
            share = float(refused[priced].sum() / refused.sum())
        taken_now = own["qualified"].to_numpy()
        gained, lost = int((refused & taken_now).sum()), int((~refused & ~taken_now).sum())
        found = {"refused_by_photo": int(refused.sum()), "priced_of_these": share, "gained": gained, "lost": lost}
        rows.append({"model_id": model["model_id"], **found, **said_beside(model, models, photo, by_model)})
    counts = dict.fromkeys(("refused_by_photo", "gained", "lost", "by_words"), pl.Int64)
    shares = dict.fromkeys(("priced_of_these", "by_words_male", "by_words_in_range"), pl.Float64)
    return pl.DataFrame(rows, schema_overrides={"model_id": pl.String, **shares, **counts})


BY_WORDS = ("by_words", "by_words_male", "by_words_in_range")


def said_beside(
    model: Mapping[str, Any], models: pl.DataFrame, photo: pl.DataFrame, by_model: Mapping[Any, pl.DataFrame]
) -> dict[str, float | None]:
    """What words alone price of what a model of photo and words, and the photo's, refuse (`by_words_alone`)."""
    kin = [pl.col(name) == model[name] for name in ("split_kind", "seed", "constraint_kind", "objective")]
    said = models.filter(pl.col("features") == WORDS, pl.col("constraint_value") == model["constraint_value"], *kin)
    if inputs_of(model["features"]) != "both" or not can_serve(model["features"]) or said.is_empty():
        return dict.fromkeys(BY_WORDS)
    words, both = by_model[(said["model_id"][0],)], by_model[(model["model_id"],)]
    taken = words.filter(by_words_alone(*(part["qualification"].to_numpy() for part in (both, photo, words))))
    in_range = taken.select(pl.col("log_price").is_between("low_log_price", "high_log_price").mean()).item()
    return dict(zip(BY_WORDS, (taken.height, taken["error"].mean(), in_range), strict=True))
