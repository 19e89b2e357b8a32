"""Ops that train the price models and let them speak on the test rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from vps_ml.artefacts import card
from vps_ml.features.dataset import PricingTable
from vps_ml.ops.backbones import GPU
from vps_ml.pricing.models import (
    COVERAGE_TARGETS,
    GATED_BASELINES,
    Variant,
    fit_baseline,
    fit_variant,
    predicted,
)
from vps_ml.recipes import Recipe

CALIBRATION = ("logit_shift", "range_low", "range_high")


@dataclass(frozen=True)
class PricingJob:
    """What training needs: rows (see `vps_ml.features.dataset.PricingTable`), the variants, the data directory."""

    rows: pl.DataFrame
    variants: tuple[Variant, ...]
    recipe: Recipe
    home: str


@dg.op(tags=GPU, pool="gpu")
def train_pricing_models(context: dg.OpExecutionContext, job: PricingJob) -> pl.DataFrame:
    """Train the variants; one row per model."""
    table = PricingTable(job.rows, job.recipe, Path(job.home))
    return model_rows([(v, fit_variant(table, v, context.log.info)) for v in job.variants])


@dg.op(tags=GPU, pool="gpu")
def train_baseline_models(context: dg.OpExecutionContext, job: PricingJob) -> pl.DataFrame:
    """Fit what a user would pick instead; one row per baseline and coverage at which it is read."""
    table = PricingTable(job.rows, job.recipe, Path(job.home))
    fitted = []
    for variant in job.variants:
        fitted.append((variant, fit_baseline(table, variant, context.log.info)))
    return model_rows(fitted)


def model_rows(fitted: Sequence[tuple[Variant, Path | None]]) -> pl.DataFrame:
    """Rows of the model tables: the variant, its id, its card's calibration and its folder."""
    rows = []
    for variant, folder in fitted:
        about = card(folder) if folder else {}
        named = f"{variant.objective}-{variant.split_kind}-{variant.constraint_value}"
        own = about.get("kind") == "pricing_model"
        model_id = about["model_id"] if own else f"{named}-{about['model_id']}" if about else named
        calibration = about.get("calibration", {})
        rows.append(
            {
                "model_id": model_id,
                **asdict(variant),
                **{name: calibration.get(name) for name in CALIBRATION},
                "trained_on": about.get("trained_on"),
                "path": f"models/{folder.name}" if folder else None,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


@dataclass(frozen=True)
class PredictionJob:
    """What prediction needs: rows as in training, and the model tables' rows."""

    rows: pl.DataFrame
    models_table: pl.DataFrame
    recipe: Recipe
    home: str


@dg.op(tags=GPU, pool="gpu")
def predict_test_rows(context: dg.OpExecutionContext, job: PredictionJob) -> pl.DataFrame:
    """Each model's word on the test rows of its split; one row per model and listing."""
    predictions = on_test_rows(PricingTable(job.rows, job.recipe, Path(job.home)), job.models_table)
    context.log.info(f"{job.models_table.height} models predicted their test rows")
    return predictions


def on_test_rows(table: PricingTable, models: pl.DataFrame) -> pl.DataFrame:
    """What the models of a model table say of their splits' test rows: those that none of them has seen."""
    abouts = [card(table.home / path) for path in models["path"].drop_nulls().unique()]
    rows = {split: table.unseen_test(split, abouts) for split in models["split_kind"].unique()}
    frames = []
    for row in models.iter_rows(named=True):
        folder = table.home / row["path"] if row["path"] else None
        said = predicted(table, variant_of(row), folder, rows[row["split_kind"]])
        frames.append(said.with_columns(model_id=pl.lit(row["model_id"])))
    return pl.concat(frames)


def variant_of(row: dict) -> Variant:
    """The variant that a model table's row describes."""
    return Variant(**{name: row[name] for name in Variant.__dataclass_fields__})


@dg.op(tags=GPU, pool="gpu")
def train_and_predict_ablations(context: dg.OpExecutionContext, job: PricingJob) -> dict[str, pl.DataFrame]:
    """Train the ablation's variants and predict their test rows: frames `models` and `predictions`."""
    table = PricingTable(job.rows, job.recipe, Path(job.home))
    fitted = []
    for number, variant in enumerate(job.variants):
        fitted.append((variant, fit_variant(table, variant, context.log.info)))
        context.log.info(f"ablation: {number + 1} of {len(job.variants)} models")
    models = model_rows(fitted)
    return {"models": models, "predictions": on_test_rows(table, models)}


def model_variants(kind: str, value: float, seeds: int) -> tuple[Variant, ...]:
    """The models of one partition: both objectives on the group split, the served one on the time split too."""
    return tuple(
        Variant(constraint_kind=kind, constraint_value=value, objective=objective, split_kind=split, seed=seed)
        for seed in range(seeds)
        for objective, split in (("paper", "group"), ("cross_fitted", "group"), ("cross_fitted", "time"))
    )


def ablation_variants(seeds: int) -> tuple[Variant, ...]:
    """Tables 4 and 5 at δ = 0.5 and ε = 0.5: STFE or MSTFE, with and without warm-up."""
    kinds = ({"features": "MSTFE"}, {"features": "STFE"}, {"warm_up": False})
    return tuple(
        Variant(constraint_kind=kind, constraint_value=0.5, objective="paper", seed=seed, **changed)
        for seed in range(seeds)
        for kind in ("percentile", "threshold")
        for changed in kinds
    )


def baseline_variants(seeds: int) -> tuple[Variant, ...]:
    """The category's median for all items; trees and Gaussian networks read at each δ and at full coverage."""
    targets = (*COVERAGE_TARGETS, 1.0)
    read = [(name, value, seed) for seed in range(seeds) for name in GATED_BASELINES for value in targets]
    return tuple(
        Variant(constraint_kind="baseline", constraint_value=value, objective=name, split_kind=split, seed=seed)
        for split in ("group", "time")
        for name, value, seed in [("category_median", 1.0, 0), *read]
    )
