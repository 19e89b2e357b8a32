"""The price models: one partition per δ or ε, and what a user would choose instead."""

import dagster as dg
import polars as pl

from vps_assets.assets.features import sold_features
from vps_assets.assets.options import NETWORK_KINDS, WAREHOUSE, WRITER, op_chain
from vps_assets.report.figures import training_curves
from vps_assets.warehouse.settings import Settings
from vps_ml.artefacts import id_in_path
from vps_ml.backbones.tasks import OF_PHOTOS, UNTUNED
from vps_ml.ops.pricing import PricingJob, train_pricing_models
from vps_ml.pricing.baselines import baseline_variants
from vps_ml.pricing.variants import CURVES, Variant, ablation_variants, model_variants, words_variants

FEWEST_ROWS = {"train": 50, "validation": 10, "test": 10}
"""With fewer a split cannot train, calibrate or test anything."""


class Training(dg.Config):
    """What the launchpad may change."""

    seeds: int = 1


def trainable(variants: tuple[Variant, ...], rows: pl.DataFrame) -> tuple[tuple[Variant, ...], list[str]]:
    """The variants whose split has enough rows on every side, and the splits that do not."""
    thin = [
        split
        for split in ("group", "time")
        if any(rows.filter(pl.col(f"{split}_role") == role).height < few for role, few in FEWEST_ROWS.items())
    ]
    return tuple(variant for variant in variants if variant.split_kind not in thin), thin


def pricing_job(
    context: dg.OpExecutionContext, settings: Settings, rows: pl.DataFrame, variants: tuple[Variant, ...]
) -> PricingJob:
    """The training job, without the variants whose split has too few rows.

    Raises:
        dg.Failure: nothing can be trained.
    """
    kept, thin = trainable(variants, rows)
    if not kept:
        raise dg.Failure(f"{rows.height} sold listings with features are too few to train and test: land more.")
    for split in thin:
        context.log.warning(f"the {split} split has too few listings on a side: its models are left out")
    return PricingJob(rows, kept, settings.recipe, settings.artefacts, settings.executor)


def partition_variants(
    context: dg.OpExecutionContext, settings: Settings, kind: str, seeds: int
) -> tuple[Variant, ...]:
    """The models of the run's partitions."""
    seen = settings.recipe.pricing.features
    return tuple(v for key in context.partition_keys for v in model_variants(kind, float(key), seeds, seen))


@dg.op
def percentile_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The models of the run's δ, with their rows."""
    return pricing_job(context, settings, rows, partition_variants(context, settings, "percentile", config.seeds))


@dg.op
def threshold_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The models of the run's ε, with their rows."""
    return pricing_job(context, settings, rows, partition_variants(context, settings, "threshold", config.seeds))


@dg.op
def baseline_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The baselines, with the same rows as the price models."""
    return pricing_job(context, settings, rows, baseline_variants(config.seeds, settings.recipe.pricing.features))


@dg.op
def ablation_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The ablations' models, with their rows, without those whose features no backbone makes."""
    made = set(rows["tasks"][0]) if rows.height else set()
    features = [name for name, tasks in OF_PHOTOS.items() if made.intersection(tasks)]
    if UNTUNED not in made:
        features.remove("MSTFE+UNTUNED")  # the same as MSTFE, then
    variants = ablation_variants(config.seeds, features)
    return pricing_job(context, settings, rows, variants)


@dg.op
def words_models_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The models that read words, with the same rows as the others."""
    return pricing_job(context, settings, rows, words_variants(config.seeds, settings.recipe.pricing.features))


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_models(context: dg.OpExecutionContext, settings: Settings, models: pl.DataFrame) -> pl.DataFrame:
    """Write the models' rows, with how their training went."""
    cards = [settings.artefacts.models.card(id_in_path(path)) for path in models["path"].unique().sort()]
    curves = [(name, curve) for card in cards for name, curve in card.get(CURVES, {}).items()]
    different = [curve for number, curve in enumerate(curves) if curve not in curves[:number]]  # folds are shared
    if different:  # none of baselines, and of models that older code has trained
        context.add_output_metadata({"loss of the run's models": training_curves(different)})
    listed = models.select("model_id", "objective", "constraint_value", "split_kind", "seed")
    context.add_output_metadata({"models": dg.MetadataValue.table([dg.TableRecord(r) for r in listed.to_dicts()])})
    return models


percentile_pricing_models = op_chain(
    "percentile_pricing_models",
    "models",
    """Price models with the percentile constraint (Eq. 1): qualify a share δ of the items, those priced best.

Partition: δ. One row per objective, split and seed; threshold and price range calibrated on validation.""",
    [sold_features, percentile_job, train_pricing_models, record_models],
)
threshold_pricing_models = op_chain(
    "threshold_pricing_models",
    "models",
    """Price models with the threshold constraint (Eq. 3): qualify the items priced within ε, in ln units.

Partition: ε. One row per objective, split and seed.""",
    [sold_features, threshold_job, train_pricing_models, record_models],
)
baseline_pricing_models = op_chain(
    "baseline_pricing_models",
    "models",
    """What a user would choose instead: category median, boosted trees, a kernel machine, a Gaussian network,
five of those.

One row per baseline, split, seed and coverage at which it is read, for which it is calibrated when it is fitted; same
rows and features as the price models.""",
    [sold_features, baseline_job, train_pricing_models, record_models],
    NETWORK_KINDS | {"lightgbm"},
)
ablation_pricing_models = op_chain(
    "ablation_pricing_models",
    "models",
    """Price models that differ from another in one thing: the features, or the warm-up. One row per model and seed.

`features`: MSTFE (the tasks' networks), STFE (the price's), and where the start is no random one UNTUNED (the network
before any tuning) and MSTFE+UNTUNED: what tuning is worth.""",
    [sold_features, ablation_job, train_pricing_models, record_models],
)
words_pricing_models = op_chain(
    "words_pricing_models",
    "models",
    """Price models that read what sellers say: WORDS alone, and beside the photo (`MSTFE+WORDS`); and rivals that do.

One row per features, objective, constraint, split and seed, on the same rows as the models of the photo alone.""",
    [sold_features, words_models_job, train_pricing_models, record_models],
)
