"""Which rows train, calibrate and test: splits by group and by time, disjoint in group, photo and day."""

from datetime import date

import duckdb
import polars as pl

ROLES = {"split": "group_role", "time_split": "time_role"}
OF_ROLES = ("listing_id", "listed_on", "sold_on", "log_price", "group_key", "photo_hash", *ROLES)
"""Columns that say which listing has which role."""
CALIBRATING_SHARE = 0.1
"""Of the groups, those that calibrate the model that is served, which learns from all others."""


def fixed_shares(keys: pl.Series) -> pl.Series:
    """A fixed number in [0, 1) for each key, from its SHA-256: equal on every machine and every day.

    By DuckDB, which takes a second for a million keys; a loop in Python, and its lists, took six.
    """
    numbered = pl.DataFrame({"key": keys}).to_arrow()
    with duckdb.connect() as connection:
        connection.execute("set temp_directory = ''")  # keys do not leave the memory
        connection.register("numbered", numbered)
        query = f"select ('0x' || left(sha256(key), 16))::ubigint / {2.0**64}::double as share from numbered"  # noqa: S608
        return pl.DataFrame(connection.execute(query).to_arrow_table())["share"]


def in_fixed_order(listings: pl.DataFrame) -> pl.DataFrame:
    """The listings in an arbitrary order that is the same on every machine: the first n are a fixed sample."""
    order = fixed_shares(listings["listing_id"]).alias("order")
    return listings.with_columns(order).sort("order").drop("order")


def group_split(group_keys: pl.Series, train_share: float, validation_share: float) -> pl.Series:
    """train, validation or test for each group key, by hash: a relisted item always stays on its side."""
    share = pl.col("share")
    later = pl.when(share < train_share + validation_share).then(pl.lit("validation")).otherwise(pl.lit("test"))
    side = pl.when(share < train_share).then(pl.lit("train")).otherwise(later)
    return pl.DataFrame({"share": fixed_shares(group_keys)}).select(side.alias(group_keys.name)).to_series()


def time_cuts(listed_on: pl.Series, train_share: float, validation_share: float) -> tuple[date, date]:
    """(last training day, last validation day): the first days by which these shares of the rows were listed."""
    days = listed_on.sort()
    last = days.len() - 1
    train = days[min(last, max(0, round(train_share * days.len()) - 1))]
    validation = days[min(last, max(0, round((train_share + validation_share) * days.len()) - 1))]
    return train, validation


def time_split(train_until: date, validation_until: date) -> pl.Expr:
    """train, validation or test by listing date."""
    day = pl.col("listed_on")
    later = pl.when(day <= validation_until).then(pl.lit("validation")).otherwise(pl.lit("test"))
    return pl.when(day <= train_until).then(pl.lit("train")).otherwise(later)


def sold_in_time() -> pl.Expr:
    """Whether an item was sold by the last listing date of its side of the time split; test has no such end."""
    last_day = pl.col("listed_on").max().over("time_split")
    return (pl.col("time_split") == "test") | (pl.col("sold_on") <= last_day)


def with_roles(listings: pl.DataFrame) -> pl.DataFrame:
    """Sold listings' roles in both splits: `group_role` and `time_role`; null for those that take no part.

    A row takes no part if a later side has its group or its photo: test keeps all its rows, validation gives up those
    that it shares with test, training those that it shares with either. So no group, photo or (time split) future day
    is on two sides, even if one photo came under two group ids or an item was listed again later.

    In the split by time a price counts from the day of sale: a training or validation item that was sold after its
    side's last day had no price then, and takes no part either.
    """
    sold = pl.col("log_price").is_not_null()
    takes_part = {"split": sold, "time_split": sold & sold_in_time()}
    for split, role in ROLES.items():
        listings = listings.with_columns(pl.when(takes_part[split]).then(pl.col(split)).alias(role))
        for side, later in (("validation", ["test"]), ("train", ["validation", "test"])):
            taken = listings.filter(pl.col(role).is_in(later))
            shared = pl.col("group_key").is_in(taken["group_key"].unique().implode()) | pl.col("photo_hash").is_in(
                taken["photo_hash"].unique().implode()
            )
            gives_up = (pl.col(role) == side) & shared
            listings = listings.with_columns(pl.when(~gives_up).then(pl.col(role)).alias(role))
    return with_served_role(listings, sold)


def with_served_role(listings: pl.DataFrame, sold: pl.Expr) -> pl.DataFrame:
    """`served_role`: who trains and who calibrates the model that is served: all sold listings, up to the newest day.

    Nothing tests it: it is judged as the model of the split by time that it is a refit of. The shares are of a hash of
    their own, so that the calibrating groups are a sample of every side of the other splits.
    """
    shares = 1 - CALIBRATING_SHARE, CALIBRATING_SHARE
    side = group_split("served:" + listings["group_key"], *shares)
    listings = listings.with_columns(served_role=pl.when(sold).then(side))
    photos = listings.filter(pl.col("served_role") == "validation")["photo_hash"].unique()
    shared = (pl.col("served_role") == "train") & pl.col("photo_hash").is_in(photos.implode())
    return listings.with_columns(served_role=pl.when(~shared).then("served_role"))
