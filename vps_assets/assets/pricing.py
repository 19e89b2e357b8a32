"""The price models: one partition per δ or ε, and what a user would pick instead."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options
from vps_assets.assets.statistics import with_statistics
from vps_assets.home import Home
from vps_assets.tables.splits import with_roles
from vps_assets.warehouse.io_manager import Settings
from vps_ml.features.scaling import PRICE_STATISTICS, SALE_COUNTS
from vps_ml.ops.pricing import (
    PricingJob,
    baseline_variants,
    model_variants,
    train_baseline_models,
    train_pricing_models,
)
from vps_ml.pricing.models import Variant

FEWEST_ROWS = {"train": 50, "validation": 10, "test": 10}
"""With fewer a split cannot train, calibrate or tell anything."""


class Training(dg.Config):
    """What the launchpad may change."""

    seeds: int = 1


def featured_listings(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """Listings with their statistics as of their listing date and where their features are."""
    tables = {"marketplace": marketplace_statistics, "category": category_statistics, "seller": seller_statistics}
    files = image_embeddings.select("listing_id", "tasks", "embedding_id", embedding_path="path", embedding_row="row")
    joined = clean_listings.join(files, on="listing_id", how="inner", maintain_order="left")
    return with_statistics(joined, tables)


def pricing_rows(featured: pl.DataFrame) -> pl.DataFrame:
    """The sold listings, as `vps_ml.features.dataset.PricingTable` takes them."""
    return (
        with_roles(featured)
        .filter(pl.col("log_price").is_not_null())
        .sort("listing_id")
        .select(
            "listing_id",
            "listed_on",
            "category",
            "group_key",
            "photo_hash",
            "log_price",
            "group_role",
            "time_role",
            "embedding_path",
            "embedding_row",
            "embedding_id",
            "tasks",
            *PRICE_STATISTICS,
            *SALE_COUNTS,
        )
    )


def with_photo_paths(rows: pl.DataFrame, home: Home) -> pl.DataFrame:
    """The rows with `photo_path`, where their photos are under the data directory."""
    paths = [str(home.photo(photo_hash).relative_to(home.path)) for photo_hash in rows["photo_hash"]]
    return rows.with_columns(photo_path=pl.Series(paths, dtype=pl.String))


def trainable(variants: tuple[Variant, ...], rows: pl.DataFrame) -> tuple[tuple[Variant, ...], list[str]]:
    """The variants whose split has enough rows on every side, and the splits that have not."""
    thin = [
        split
        for split in ("group", "time")
        if any(rows.filter(pl.col(f"{split}_role") == role).height < few for role, few in FEWEST_ROWS.items())
    ]
    return tuple(variant for variant in variants if variant.split_kind not in thin), thin


def job_of(context: dg.OpExecutionContext, settings: Settings, rows: pl.DataFrame, variants: tuple) -> PricingJob:
    """The training job, without the variants whose split is too thin.

    Raises:
        dg.Failure: nothing can be trained.
    """
    kept, thin = trainable(variants, rows)
    if not kept:
        raise dg.Failure(f"{rows.height} sold listings with features are too few to train and test: land more.")
    for split in thin:
        context.log.warning(f"the {split} split has too few listings on a side: its models are left out")
    return PricingJob(rows, kept, settings.recipe, settings.home)


def partition_variants(context: dg.OpExecutionContext, kind: str, seeds: int) -> tuple[Variant, ...]:
    return tuple(v for key in context.partition_keys for v in model_variants(kind, float(key), seeds))


@dg.op
def priced_rows(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """The sold listings with their features, as all price models, baselines and evaluations see them."""
    statistics = marketplace_statistics, category_statistics, seller_statistics
    return pricing_rows(featured_listings(clean_listings, image_embeddings, *statistics))


@dg.op
def percentile_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The models of the run's δ, with their rows."""
    return job_of(context, settings, rows, partition_variants(context, "percentile", config.seeds))


@dg.op
def threshold_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The models of the run's ε, with their rows."""
    return job_of(context, settings, rows, partition_variants(context, "threshold", config.seeds))


@dg.op
def baseline_job(
    context: dg.OpExecutionContext, config: Training, settings: Settings, rows: pl.DataFrame
) -> PricingJob:
    """The baselines, with the same rows as the price models."""
    return job_of(context, settings, rows, baseline_variants(config.seeds))


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_models(context: dg.OpExecutionContext, models: pl.DataFrame) -> pl.DataFrame:
    """Write the models' rows."""
    listed = models.select("model_id", "objective", "constraint_value", "split_kind", "seed")
    context.add_output_metadata({"models": dg.MetadataValue.table([dg.TableRecord(r) for r in listed.to_dicts()])})
    return models


@dg.graph_asset(**graph_options("percentile_pricing_models", "models", {"pytorch", "duckdb"}))
def percentile_pricing_models(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """Price models with the percentile constraint (Eq. 1): qualify a share δ of the items, those priced best.

    Partition: δ. One row per objective, split and seed; threshold and price range calibrated on validation.
    """
    statistics = marketplace_statistics, category_statistics, seller_statistics
    rows = priced_rows(clean_listings, image_embeddings, *statistics)
    return record_models(train_pricing_models(percentile_job(rows)))


@dg.graph_asset(**graph_options("threshold_pricing_models", "models", {"pytorch", "duckdb"}))
def threshold_pricing_models(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """Price models with the threshold constraint (Eq. 3): qualify the items priced within ε, in ln units.

    Partition: ε. One row per objective, split and seed.
    """
    statistics = marketplace_statistics, category_statistics, seller_statistics
    rows = priced_rows(clean_listings, image_embeddings, *statistics)
    return record_models(train_pricing_models(threshold_job(rows)))


@dg.graph_asset(**graph_options("baseline_pricing_models", "models", {"lightgbm", "pytorch", "duckdb"}))
def baseline_pricing_models(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
) -> pl.DataFrame:
    """What a user would pick instead: category median, boosted trees, a Gaussian network, a deep ensemble of those.

    One row per baseline, split, seed and coverage at which it is read; same rows and features as the price models.
    """
    statistics = marketplace_statistics, category_statistics, seller_statistics
    rows = priced_rows(clean_listings, image_embeddings, *statistics)
    return record_models(train_baseline_models(baseline_job(rows)))
