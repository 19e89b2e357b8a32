"""The join that all price models see: listings, their statistics as of their listing date, and their embeddings."""

from collections.abc import Callable, Mapping

import dagster as dg
import polars as pl

from vps_assets.tables.splits import share_of_group, with_roles
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import TABULAR
from vps_ml.photos.quality import QUALITY_COLUMNS

EMBEDDING = ("embedding_path", "embedding_row", "embedding_id", "tasks")
"""Which file and row have a listing's features, of which backbones, for which tasks."""
TEXT = ("text_path", "text_row", "text_id", "title", "description")
"""Which file and row have a listing's words, how they were read, and what they are."""


MOST_SOLD = 2_000_000
"""Sold listings that price models are trained and tested on; the paper's were half of that."""


def bounded(sold: pl.DataFrame, most: int = MOST_SOLD) -> pl.DataFrame:
    """The sold listings or, of more than `most`, about so many of them: whole groups, by a fixed hash.

    So a sample of today's is a sample of tomorrow's, and no group is cut.
    """
    if sold.height <= most:
        return sold
    groups = sold["group_key"].unique()
    shares = pl.Series([share_of_group(f"sample:{key}") for key in groups], dtype=pl.Float64)
    return sold.filter(pl.col("group_key").is_in(groups.filter(shares < most / sold.height).implode()))


def sold_rows(joined: pl.DataFrame) -> pl.DataFrame:
    """The sold listings, as `vps_ml.features.dataset.PricingDataset` takes them; of very many a sample (`bounded`)."""
    sold = bounded(with_roles(joined).filter(pl.col("log_price").is_not_null())).sort("listing_id")
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
    return sold.select(*dict.fromkeys((*item, *EMBEDDING, *TEXT, *TABULAR)))


def open_rows(joined: pl.DataFrame) -> pl.DataFrame:
    """The open listings, as `vps_ml.ops.suggestions.ChampionJob` takes them."""
    still_open = joined.filter(pl.col("sold_on").is_null())
    return still_open.select(
        "listing_id", "listed_on", "group_key", "photo_hash", *EMBEDDING, *TEXT, *QUALITY_COLUMNS, *TABULAR
    )


def offered_rows(joined: pl.DataFrame) -> pl.DataFrame:
    """The listings with an asking price, sold and open, as `vps_ml.ops.selling.SaleJob` takes them."""
    own = ("listing_id", "listed_on", "listed_at", "sold_at", "price", "sold_price", "group_key", "photo_hash")
    return joined.filter(pl.col("price").is_not_null()).select(*dict.fromkeys((*own, *EMBEDDING, *TEXT, *TABULAR)))


def with_features(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    text_embeddings: pl.DataFrame,
    statistics: Mapping[str, pl.DataFrame],
) -> pl.DataFrame:
    """Listings with their photos' features and quality, their words and their statistics as of their listing date.

    Args:
        clean_listings: any of them; those without features are left out.
        image_embeddings: of these listings.
        text_embeddings: of these listings; where there are none, columns are null.
        statistics: history -> its table.
    """
    files = image_embeddings.select(
        "listing_id", "tasks", "embedding_id", *QUALITY_COLUMNS, embedding_path="path", embedding_row="row"
    )
    words = text_embeddings.select("listing_id", "text_id", text_path="path", text_row="row")
    embedded = clean_listings.join(files, on="listing_id", how="inner", maintain_order="left")
    embedded = embedded.join(words, on="listing_id", how="left", maintain_order="left")
    return with_statistics(embedded, statistics)


def join_op(name: str, description: str, select: Callable[[pl.DataFrame], pl.DataFrame]) -> dg.OpDefinition:
    """An op that joins all features and selects rows and columns of them."""

    @dg.op(name=name, description=description)
    def join(
        clean_listings: pl.DataFrame,
        image_embeddings: pl.DataFrame,
        text_embeddings: pl.DataFrame,
        marketplace_statistics: pl.DataFrame,
        category_statistics: pl.DataFrame,
        seller_statistics: pl.DataFrame,
        label_statistics: pl.DataFrame,
    ) -> pl.DataFrame:
        tables = {
            "marketplace": marketplace_statistics,
            "category": category_statistics,
            "seller": seller_statistics,
            "label": label_statistics,
        }
        return select(with_features(clean_listings, image_embeddings, text_embeddings, tables))

    return join


sold_features = join_op(
    "sold_features",
    f"The sold listings that models are trained and tested on; of over {MOST_SOLD:,} a sample of whole groups.",
    sold_rows,
)
offered_features = join_op(
    "offered_features", "The listings with an asking price, and what became of them.", offered_rows
)
open_features = join_op("open_features", "The open listings, as the champion prices them.", open_rows)
