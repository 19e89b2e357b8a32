"""From landed rows to priced listings: raw, bounds, clean, quarantined."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from vps_assets.assets.options import table_options
from vps_assets.landing.landed import landed_rows
from vps_assets.report.figures import contact_sheet, price_histograms
from vps_assets.tables.listings import CLEAN_LISTINGS, PRICE_BOUNDS, RAW_LISTINGS
from vps_assets.tables.schemas import conforming
from vps_assets.tables.splits import group_split, time_cuts, time_split
from vps_assets.warehouse.settings import Settings
from vps_ml.artefacts import PHOTO_PATH

OF_BOUNDS = ("listed_on", "sold_at", "sold_price", "group_id", "photo_hash", "landing_reasons")
"""Columns of a landed listing that bounds and splits are fitted by."""
TOO_LOW, TOO_HIGH = "sold_price is irrationally low", "sold_price is irrationally high"


def good(raw_listings: pl.DataFrame) -> pl.DataFrame:
    """Rows without a reason against them at landing, with their group."""
    kept = raw_listings.filter(pl.col("landing_reasons").list.len() == 0)
    return kept.with_columns(group_key=pl.coalesce("group_id", "photo_hash"))


def fitted_bounds(
    raw_listings: pl.DataFrame, quantiles: tuple[float, float], train_share: float, validation_share: float
) -> pl.DataFrame:
    """Bounds of sold prices, fitted on training rows alone, and the time split's days, fitted on sold rows.

    Training rows are those that train in the split by group *and* in the split by time, sold by its last training
    day. Without any, no price is out of bounds, and the days are those of all listings.
    """
    landed = good(raw_listings)
    sold = landed.filter(pl.col("sold_price").is_not_null())
    days = next(d for d in (sold["listed_on"], landed["listed_on"], raw_listings["listed_on"]) if d.len())
    train_until, validation_until = time_cuts(days, train_share, validation_share)
    split = group_split(sold["group_key"], train_share, validation_share)
    prices = sold.filter((split == "train") & (pl.col("sold_at").dt.date() <= train_until))["sold_price"]
    lower, upper = (prices.quantile(q, "linear") for q in quantiles)
    row = {
        "lower_price": lower,
        "upper_price": upper,
        "train_until": train_until,
        "validation_until": validation_until,
        "train_share": train_share,
        "validation_share": validation_share,
        "training_sales": prices.len(),
        "sales": sold.height,
        "fitted_at": datetime.now(UTC),
    }
    return conforming(pl.DataFrame([row]), PRICE_BOUNDS)


def judged(raw_listings: pl.DataFrame, price_bounds: pl.DataFrame) -> pl.DataFrame:
    """The landed rows with `reasons`: those of landing, and a sold price out of bounds."""
    bounds = price_bounds.row(0, named=True)
    price = pl.col("sold_price")
    lower, upper = (pl.lit(bounds[name], pl.Float64) for name in ("lower_price", "upper_price"))
    irrational = pl.concat_list(
        pl.when((price > 0) & (price < lower)).then(pl.lit(TOO_LOW)),
        pl.when(price > upper).then(pl.lit(TOO_HIGH)),
    ).list.drop_nulls()
    return raw_listings.with_columns(reasons=pl.concat_list("landing_reasons", irrational))


def cleaned(raw_listings: pl.DataFrame, price_bounds: pl.DataFrame) -> pl.DataFrame:
    """The rows with no reason against them, with log price, day of sale, group and splits."""
    kept = judged(raw_listings, price_bounds).filter(pl.col("reasons").list.len() == 0)
    return conforming(with_splits(kept, price_bounds), CLEAN_LISTINGS)


def with_splits(listings: pl.DataFrame, price_bounds: pl.DataFrame) -> pl.DataFrame:
    """Good landed rows with log price, day of sale, group and splits."""
    bounds = price_bounds.row(0, named=True)
    kept = good(listings)
    split = group_split(kept["group_key"], bounds["train_share"], bounds["validation_share"])
    return kept.with_columns(
        split.alias("split"),
        time_split(bounds["train_until"], bounds["validation_until"]).alias("time_split"),
        sold_on=pl.col("sold_at").dt.date(),
        log_price=pl.col("sold_price").log(),
        photo_path=pl.format(PHOTO_PATH, pl.col("photo_hash").str.head(2), "photo_hash"),
    )


def quarantined(raw_listings: pl.DataFrame, price_bounds: pl.DataFrame) -> pl.DataFrame:
    """The rows that are kept out, with every reason."""
    return judged(raw_listings, price_bounds).filter(pl.col("reasons").list.len() > 0)


def require_bounds(price_bounds: pl.DataFrame) -> None:
    """Fail with what to do if the bounds have not been fitted."""
    if price_bounds.is_empty():
        raise dg.Failure("price_bounds is empty: materialise raw_listings, then price_bounds, then this asset.")


def add_picture(context: dg.AssetExecutionContext, name: str, picture: dg.MetadataValue) -> None:
    """Add a picture to the run's last date alone, so that a backfill of years does not store one each day."""
    context.add_asset_metadata({name: picture}, partition_key=context.partition_keys[-1])


@dg.asset(**table_options("raw_listings", "listings"))
def raw_listings(context: dg.AssetExecutionContext, settings: Settings) -> pl.DataFrame:
    """Every landed row in force, good or bad, one per listing (and its newest bad row, if that came later).

    Key: `listing_id`. Partition: `listed_on`, a UTC day. Money: the warehouse's currency.
    """
    window = context.partition_time_window
    first, last = window.start.date(), window.end.date() - timedelta(days=1)
    rows = landed_rows(settings.home, list(RAW_LISTINGS.columns), first, last)
    photos = rows.filter(pl.col("photo_hash").is_not_null())["photo_hash"].unique(maintain_order=True)
    sample = photos.gather_every(max(1, photos.len() // 24))[:24]
    add_picture(context, "photos of the run", contact_sheet(settings.artefacts.photos(sample)))
    return rows


@dg.asset(**table_options("price_bounds", "listings", {"raw_listings": OF_BOUNDS}))
def price_bounds(context: dg.AssetExecutionContext, settings: Settings, raw_listings: pl.DataFrame) -> pl.DataFrame:
    """The sold prices that are accepted, and the days of the time split: one row, in force until it is fitted again.

    Fitted if there is none, when the recipe changes, when half as many sales again have landed, or when it is
    materialised by name; in between a new day does not change old partitions.
    """
    if raw_listings.is_empty():
        raise dg.Failure("raw_listings is empty: materialise it for the dates that have landed.")
    recipe = settings.recipe
    bounds = fitted_bounds(raw_listings, recipe.price_quantiles, recipe.train_share, recipe.validation_share)
    row = bounds.row(0, named=True)
    figures = {name: row[name] for name in ("lower_price", "upper_price", "training_sales") if row[name] is not None}
    context.add_output_metadata({**figures, "train_until": str(row["train_until"])})
    return bounds


@dg.asset(**table_options("clean_listings", "listings"))
def clean_listings(
    context: dg.AssetExecutionContext, raw_listings: pl.DataFrame, price_bounds: pl.DataFrame
) -> pl.DataFrame:
    """Listings to learn from (sold) or to price (open).

    Key: `listing_id`. Partition: `listed_on`, a UTC day. `log_price` is the natural log of the sold price.
    """
    require_bounds(price_bounds)
    kept = cleaned(raw_listings, price_bounds)
    prices = price_histograms(raw_listings["sold_price"].drop_nulls(), kept["log_price"].drop_nulls())
    add_picture(context, "prices of the run", prices)
    return kept


@dg.asset(**table_options("quarantined_listings", "listings"))
def quarantined_listings(raw_listings: pl.DataFrame, price_bounds: pl.DataFrame) -> pl.DataFrame:
    """Rows that are kept out, each with every reason that applies and as it came.

    Partition: `listed_on`, the landing day if the row has none.
    """
    require_bounds(price_bounds)
    return quarantined(raw_listings, price_bounds)
