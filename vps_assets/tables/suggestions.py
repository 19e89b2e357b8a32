"""The tables of what sellers see, what they saw before, and what a new champion changed."""

import pandera.polars as pa
import polars as pl

from vps_assets.tables.columns import OF_WHAT, UTC, column, fraction, table
from vps_assets.tables.listings import LISTED_ON
from vps_ml.backbones.tasks import INPUTS
from vps_ml.features.unchanged import MADE_FROM

BY_INPUTS = column(pl.String, "By what it was priced", pa.Check.isin(list(INPUTS)))
SUGGESTED = {
    "suggested_price": column(pl.Float64, "Money; null if the photo is unqualified", pa.Check.gt(0), null=True),
    "low": column(pl.Float64, "Low end of the price range, money", pa.Check.gt(0), null=True),
    "high": column(pl.Float64, "High end of the price range, money", pa.Check.gt(0), null=True),
    "qualification": column(pl.Float64, "0 to 1; qualified at 0.5 and above", fraction()),
    "qualified": column(pl.Boolean, "Good enough to price the item"),
    "inputs": BY_INPUTS,
    "reason": column(pl.String, "blurred, dark, overexposed or too_little_information; null if qualified", null=True),
    "model_id": column(pl.String, "Which model priced it"),
    "suggested_at": column(UTC, "When a run last said so, UTC, also where nothing had changed"),
}
PRICE_SUGGESTIONS = table(
    "price_suggestions",
    {
        "listing_id": column(pl.String, "An open listing", unique=True),
        "listed_on": LISTED_ON,
        **SUGGESTED,
        MADE_FROM: OF_WHAT,
    },
)
SUGGESTION_HISTORY = table(
    "suggestion_history",
    {
        "listing_id": column(pl.String, "A listing that was open"),
        "listed_on": LISTED_ON,
        "suggested_on": column(pl.Date, "UTC day of suggested_at"),
        **SUGGESTED,
    },
    unique=["listing_id", "listed_on", "suggested_on", "model_id"],
)
SUGGESTION_CHANGES = table(
    "suggestion_changes",
    {
        "listing_id": column(pl.String, "An open listing that another model priced before", unique=True),
        "listed_on": LISTED_ON,
        "inputs": BY_INPUTS,
        "model_id_before": column(pl.String, "Which model"),
        "model_id": column(pl.String, "Which model prices now"),
        "qualified_before": column(pl.Boolean, "Whether it had a price"),
        "qualified": column(pl.Boolean, "Whether it has one now"),
        "suggested_price_before": column(pl.Float64, "Money; null if it had none", pa.Check.gt(0), null=True),
        "suggested_price": column(pl.Float64, "Money; null if it has none now", pa.Check.gt(0), null=True),
        "log_change": column(pl.Float64, "Natural log of now over before; null without both", null=True),
        "suggested_at_before": column(UTC, "When, UTC"),
        "suggested_at": column(UTC, "When, UTC"),
    },
)
