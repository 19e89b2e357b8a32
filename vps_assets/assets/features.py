"""The join that all price models see: listings, their statistics as of their listing date, and their embeddings."""

from collections.abc import Callable, Mapping

import dagster as dg
import polars as pl

from vps_assets.tables.splits import with_roles
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import TABULAR
from vps_ml.photos.decoding import QUALITY_COLUMNS

EMBEDDING = ("embedding_path", "embedding_row", "embedding_id", "tasks")
"""Which file and row have a listing's features, of which backbones, for which tasks."""


def sold_rows(joined: pl.DataFrame) -> pl.DataFrame:
    """The sold listings, as `vps_ml.features.dataset.PricingDataset` takes them."""
    sold = with_roles(joined).filter(pl.col("log_price").is_not_null()).sort("listing_id")
    item = (
        "listing_id",
        "listed_on",
        "category",
        "group_key",
        "photo_hash",
        "log_price",
        "sold_on",
        "group_role",
        "time_role",
        "served_role",
    )
    return sold.select(*dict.fromkeys((*item, *EMBEDDING, *TABULAR)))


def open_rows(joined: pl.DataFrame) -> pl.DataFrame:
    """The open listings, as `vps_ml.ops.suggestions.ChampionJob` takes them."""
    still_open = joined.filter(pl.col("sold_on").is_null())
    return still_open.select("listing_id", "listed_on", "photo_hash", *EMBEDDING, *QUALITY_COLUMNS, *TABULAR)


def with_features(
    clean_listings: pl.DataFrame, image_embeddings: pl.DataFrame, statistics: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Listings with their photos' features and quality and their statistics as of their listing date.

    Args:
        clean_listings: any of them; those without features are left out.
        image_embeddings: of these listings.
        statistics: history -> its table.
    """
    files = image_embeddings.select(
        "listing_id", "tasks", "embedding_id", *QUALITY_COLUMNS, embedding_path="path", embedding_row="row"
    )
    embedded = clean_listings.join(files, on="listing_id", how="inner", maintain_order="left")
    return with_statistics(embedded, statistics)


def join_op(name: str, description: str, select: Callable[[pl.DataFrame], pl.DataFrame]) -> dg.OpDefinition:
    """An op that joins all features and selects rows and columns of them."""

    @dg.op(name=name, description=description)
    def join(
        clean_listings: pl.DataFrame,
        image_embeddings: pl.DataFrame,
        marketplace_statistics: pl.DataFrame,
        category_statistics: pl.DataFrame,
        seller_statistics: pl.DataFrame,
    ) -> pl.DataFrame:
        tables = {
            "marketplace": marketplace_statistics,
            "category": category_statistics,
            "seller": seller_statistics,
        }
        return select(with_features(clean_listings, image_embeddings, tables))

    return join


sold_features = join_op("sold_features", "The sold listings, as models are trained and tested on them.", sold_rows)
open_features = join_op("open_features", "The open listings, as the champion prices them.", open_rows)
