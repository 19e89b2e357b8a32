"""One price, or one honest reason, for each open listing."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from vps_assets.assets.champion import folder_in_force
from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options
from vps_assets.assets.pricing import featured_listings, with_photo_paths
from vps_assets.warehouse.io_manager import Settings
from vps_ml.ops.suggestions import ChampionJob, suggest_prices
from vps_ml.photos.decoding import QUALITY_COLUMNS


@dg.op
def suggestion_job(
    settings: Settings,
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    champion_model: pl.DataFrame,
) -> ChampionJob:
    """The dates' open listings with their features, and the champion."""
    champion = folder_in_force(settings, champion_model)
    statistics = marketplace_statistics, category_statistics, seller_statistics
    still_open = clean_listings.filter(pl.col("sold_on").is_null())
    featured = featured_listings(still_open, image_embeddings, *statistics)
    quality = image_embeddings.select("listing_id", *QUALITY_COLUMNS)
    rows = featured.join(quality, on="listing_id", how="left", maintain_order="left")
    return ChampionJob(with_photo_paths(rows, settings.at), str(champion), settings.home)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_suggestions(context: dg.OpExecutionContext, suggested: pl.DataFrame) -> pl.DataFrame:
    """Write the suggestions, stamped."""
    if suggested.is_empty():
        return pl.DataFrame()
    reasons = suggested["reason"].drop_nulls().value_counts()
    counts = {f"reason: {reason}": count for reason, count in reasons.iter_rows()}
    context.add_output_metadata({"qualified": int(suggested["qualified"].sum()), **counts})
    return suggested.with_columns(suggested_at=pl.lit(datetime.now(UTC)))


@dg.graph_asset(**graph_options("price_suggestions", "suggestions", {"pytorch", "duckdb"}))
def price_suggestions(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    champion_model: pl.DataFrame,
) -> pl.DataFrame:
    """What the seller of each open listing sees: a price with its range, or what to do about the photo.

    Key: `listing_id`. Partition: `listed_on`, a UTC day. Money: the warehouse's currency.
    """
    statistics = marketplace_statistics, category_statistics, seller_statistics
    return record_suggestions(
        suggest_prices(suggestion_job(clean_listings, image_embeddings, *statistics, champion_model))
    )
