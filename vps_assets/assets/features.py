"""The join that all price models see: listings, their statistics as of their listing date, and their embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log2

import dagster as dg
import polars as pl

from vps_assets.assets.options import only
from vps_assets.tables.splits import OF_ROLES, fixed_shares, with_roles
from vps_assets.warehouse.settings import Settings
from vps_ml.features.given import SAID, inputs_of_rows
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import TABULAR
from vps_ml.ops.selling import MOST_LISTINGS
from vps_ml.photos.quality import QUALITY_COLUMNS
from vps_ml.recipes import Recipe

EMBEDDING = ("embedding_path", "embedding_row", "embedding_id", "tasks")
"""Which file and row have a listing's features, of which backbones, for which tasks."""
TEXT = ("text_path", "text_row", "text_id", "title", "description")
"""Which file and row have a listing's words, how they were read, and what they are."""
OF_LISTING = (*OF_ROLES, "category", "seller_id", "listed_at", "sold_at", "price", "sold_price", *SAID)
"""What is joined to its features of a listing; the join reads no other column."""

STEPS_AN_OCTAVE = 8
"""In which the share of a sample is halved."""
SAMPLES: dict[tuple[object, ...], pl.DataFrame] = {}
"""(digest of listings, share) -> `roles_of_sample`, as this process was asked last: five ops of a run ask for
the same, and of a million listings the hashes of their groups take longer than all else of the join."""


def share_taken(sold: int, most: int) -> float:
    """The share of so many sold listings that makes about `most`, on average no more; 1 if there are no more.

    It falls in steps of 8%: on nearly all days the sample is that of the day before and what has sold since, so that
    what was found on it stands.
    """
    return 1.0 if sold <= most else 2.0 ** (-ceil(STEPS_AN_OCTAVE * log2(sold / most)) / STEPS_AN_OCTAVE)


def sampled(listings: pl.DataFrame, share: float) -> pl.DataFrame:
    """About this share of the listings: whole groups, by a fixed hash.

    So a sample of today's is a sample of tomorrow's, and no group is cut.
    """
    if share >= 1:
        return listings
    return listings.filter(fixed_shares("sample:" + listings["group_key"]) < share)


def sold_listings(there: pl.DataFrame, clean_listings: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The sold listings with their roles, by id; of very many a sample (`sampled`), by the number of all sales."""
    share = share_taken(clean_listings["log_price"].count(), recipe.pricing.most_sold)
    listings = there.select(OF_ROLES)
    asked = listings.hash_rows().sum(), share
    sample = SAMPLES.get(asked)
    if sample is None:
        sample = roles_of_sample(listings, share)
        SAMPLES.clear()
        SAMPLES[asked] = sample
    return there.join(sample, on="listing_id", how="inner").sort("listing_id")


def roles_of_sample(listings: pl.DataFrame, share: float) -> pl.DataFrame:
    """Which of the listings (columns `OF_ROLES`) are sold and in the sample that is this share, and their roles."""
    sold = with_roles(listings).filter(pl.col("log_price").is_not_null())
    return sampled(sold, share).drop(set(OF_ROLES) - {"listing_id"})


def open_listings(there: pl.DataFrame, clean_listings: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The listings that have not sold."""
    return there.filter(pl.col("sold_on").is_null())


def newest_offers(
    there: pl.DataFrame, clean_listings: pl.DataFrame, recipe: Recipe, most: int = MOST_LISTINGS
) -> pl.DataFrame:
    """The newest listings with an asking price: `most` of all, and `most` whose seller says anything.

    And the one that sold last, which tells until when sales are known.
    """
    offered = there.filter(pl.col("price").is_not_null())
    by_age = offered.with_row_index("_order").sort("listed_at", "listing_id")
    newest = [by_age, by_age.filter(inputs_of_rows(by_age) == "both")]
    last = by_age.sort("sold_at", nulls_last=False)
    chosen = pl.concat([*(rows.tail(most) for rows in newest), last.tail(1)])
    return chosen.unique("_order").sort("_order").drop("_order")


@dataclass(frozen=True)
class Selection:
    """Which listings are joined to their features, and which columns of the join are taken."""

    listings: Callable[[pl.DataFrame, pl.DataFrame, Recipe], pl.DataFrame]
    """(rows of `clean_listings` that have features, all of them, recipe) -> those that are wanted: before the join,
    which costs."""
    columns: tuple[str, ...]


SOLD = Selection(
    sold_listings,
    (
        *("listing_id", "listed_on", "category", "group_key", "photo_hash", "log_price", "sold_on"),
        *("group_role", "time_role", "served_role", *EMBEDDING, *TEXT, *TABULAR),
    ),
)
"""As `vps_ml.features.dataset.PricingDataset` takes them."""
OPEN = Selection(
    open_listings,
    ("listing_id", "listed_on", "group_key", "photo_hash", *EMBEDDING, *TEXT, *QUALITY_COLUMNS, *TABULAR),
)
"""As `vps_ml.ops.suggestions.ChampionJob` takes them."""
OFFERED = Selection(
    newest_offers,
    (
        *("listing_id", "listed_on", "listed_at", "sold_at", "price", "sold_price", "group_key", "photo_hash"),
        *(*EMBEDDING, *TEXT, *TABULAR),
    ),
)
"""As `vps_ml.ops.selling.SaleJob` takes them."""


def with_features(
    selection: Selection,
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    text_embeddings: pl.DataFrame,
    statistics: Mapping[str, pl.DataFrame],
    recipe: Recipe,
) -> pl.DataFrame:
    """Listings with their photos' features and quality, their words and their statistics as of their listing date.

    Args:
        selection: which of the listings, and which columns.
        clean_listings: any of them; those without features are left out.
        image_embeddings: of these listings.
        text_embeddings: of these listings; where there are none, columns are null.
        statistics: history -> its table.
        recipe: in force.
    """
    files = image_embeddings.select(
        "listing_id", "tasks", "embedding_id", *QUALITY_COLUMNS, embedding_path="path", embedding_row="row"
    )
    words = text_embeddings.select("listing_id", "text_id", text_path="path", text_row="row")
    there = clean_listings.join(files, on="listing_id", how="semi", maintain_order="left")
    chosen = selection.listings(there, clean_listings, recipe)
    embedded = chosen.join(files, on="listing_id", how="inner", maintain_order="left")
    embedded = embedded.join(words, on="listing_id", how="left", maintain_order="left")
    return with_statistics(embedded, statistics).select(*dict.fromkeys(selection.columns))


def join_op(name: str, description: str, selection: Selection) -> dg.OpDefinition:
    """An op that joins the features of selected listings."""

    read = {
        "clean_listings": OF_LISTING,
        "image_embeddings": ("listing_id", "tasks", "embedding_id", "path", "row", *QUALITY_COLUMNS),
        "text_embeddings": ("listing_id", "text_id", "path", "row"),
    }

    @dg.op(
        name=name, description=description, ins={table: dg.In(metadata=only(*names)) for table, names in read.items()}
    )
    def join(
        settings: Settings,
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
        return with_features(selection, clean_listings, image_embeddings, text_embeddings, tables, settings.recipe)

    return join


sold_features = join_op(
    "sold_features",
    "The sold listings that models are trained and tested on; of more than the recipe's `most_sold` a sample.",
    SOLD,
)
offered_features = join_op(
    "offered_features", "The newest listings with an asking price, and what became of them.", OFFERED
)
open_features = join_op("open_features", "The open listings, as the champion prices them.", OPEN)
