"""The tables of listings and of what they sold for."""

import pandera.polars as pa
import polars as pl

from vps_assets.tables.columns import TEXTS, UTC, column, fraction, table
from vps_ml.features.tabular import HISTORIES, LABEL_HISTORY, MOMENTS

SPLITS = ["train", "validation", "test"]

REQUIRED = ("listing_id", "listed_at", "category", "image_path")
"""Columns of `LANDED` without which a file is refused."""
LANDED = {
    "listing_id": column(pl.String, "The listing", null=True),
    "listed_at": column(UTC, "When it went on sale, UTC", null=True),
    "category": column(pl.String, "One label, may be noisy", null=True),
    "image_path": column(pl.String, "The photo, as landed", null=True),
    "price": column(pl.Float64, "Asking price, in the warehouse's currency", null=True),
    "sold_at": column(UTC, "When it was sold, UTC; null while open", null=True),
    "sold_price": column(pl.Float64, "Price at which it was sold; null while open", null=True),
    "currency": column(pl.String, "One per warehouse", null=True),
    "seller_id": column(pl.String, "Who sells it", null=True),
    "brand": column(pl.String, "Brand label", null=True),
    "group_id": column(pl.String, "Listings of one physical item", null=True),
    "attributes": column(TEXTS, "Attribute labels (white, cotton)", null=True),
    "specifications": column(TEXTS, "Specification labels (XL, campus-style)", null=True),
    "title": column(pl.String, "What the seller calls it", null=True),
    "description": column(pl.String, "What the seller says of it", null=True),
    "condition": column(pl.String, "Condition label, as the seller gave it", null=True),
}
"""What a user brings: the one place where a column of the listings is added."""
WORDS = {"title": 2_000, "description": 20_000, "condition": 200}
"""Columns of `LANDED` that hold the seller's own words -> the most characters of each."""
LISTED_ON = column(pl.Date, "UTC day of listed_at: the partition")

RAW_LISTINGS = table(
    "raw_listings",
    LANDED
    | {
        "listed_on": column(pl.Date, "UTC day of listed_at, else of landing: the partition"),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
        "landing_id": column(pl.String, "Hash of the landing it came with"),
        "photo_hash": column(pl.String, "SHA-256 of the photo's bytes; null without a good photo", null=True),
        "landing_reasons": column(TEXTS, "The reasons against the row by itself; empty for a good one"),
        "row": column(pl.String, "The row as it came, JSON"),
    },
)
PRICE_BOUNDS = table(
    "price_bounds",
    {
        "lower_price": column(pl.Float64, "Lowest sold price that is kept, money", pa.Check.gt(0), null=True),
        "upper_price": column(pl.Float64, "Highest sold price that is kept, money", pa.Check.gt(0), null=True),
        "train_until": column(pl.Date, "Last listing date of the time split's training days"),
        "validation_until": column(pl.Date, "Last listing date of its validation days"),
        "train_share": column(pl.Float64, "Share of groups in training", fraction()),
        "validation_share": column(pl.Float64, "Share of groups in validation", fraction()),
        "training_sales": column(pl.Int64, "Sold training rows that the bounds were fitted on"),
        "sales": column(pl.Int64, "All sold rows at that time"),
        "fitted_at": column(UTC, "When, UTC"),
    },
)
CLEAN_LISTINGS = table(
    "clean_listings",
    LANDED
    | {
        "listing_id": column(pl.String, "The listing", unique=True),
        "listed_at": column(UTC, "When it went on sale, UTC"),
        "category": column(pl.String, "One label, may be noisy"),
        "image_path": column(pl.String, "The photo, as landed"),
        "price": column(pl.Float64, "Asking price, money", pa.Check.gt(0), null=True),
        "sold_price": column(pl.Float64, "Price at which it was sold, money", pa.Check.gt(0), null=True),
        "listed_on": LISTED_ON,
        "sold_on": column(pl.Date, "UTC day of sold_at", null=True),
        "log_price": column(pl.Float64, "Natural log of the sold price; null while open", null=True),
        "split": column(pl.String, "By hash of the group", pa.Check.isin(SPLITS)),
        "time_split": column(pl.String, "By listing date", pa.Check.isin(SPLITS)),
        "group_key": column(pl.String, "group_id, else the photo's hash: never split"),
        "photo_hash": column(pl.String, "SHA-256 of the photo's bytes"),
        "photo_path": column(
            pl.String,
            "The photo as it is kept, under VPS_HOME or in the bucket; null of dates cleaned by older code",
            null=True,
        ),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
    },
)
QUARANTINED_LISTINGS = table(
    "quarantined_listings",
    {
        "listing_id": column(pl.String, "The listing, where the row has an id", null=True),
        "listed_on": column(pl.Date, "Listing date, else the landing day"),
        "reasons": column(TEXTS, "Every reason that applies"),
        "row": column(pl.String, "The row exactly as it came, JSON"),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
    },
)


def statistics_table(name: str, key: str | None) -> pa.DataFrameSchema:
    """One row per group and day from which its history is different."""
    keyed = {key: column(pl.String, "The group")} if key else {}
    money = {moment: column(pl.Float64, f"{moment} of sold prices, money", pa.Check.gt(0)) for moment in MOMENTS}
    return table(
        name,
        {
            "as_of": column(pl.Date, "In force from this day until the group's next row"),
            **keyed,
            "sales": column(pl.Int64, "Sales with sold_on < as_of", pa.Check.gt(0)),
            **money,
        },
        unique=["as_of", *keyed],
    )


LABEL_STATISTICS = statistics_table(f"{LABEL_HISTORY}_statistics", LABEL_HISTORY)
MARKETPLACE_STATISTICS, CATEGORY_STATISTICS, SELLER_STATISTICS = (
    statistics_table(f"{history}_statistics", key) for history, key in HISTORIES.items()
)
