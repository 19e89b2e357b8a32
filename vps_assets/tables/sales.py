"""The tables of what stands beside a suggestion: sold items that are like it, and how fast things sell."""

import pandera.polars as pa
import polars as pl

from vps_assets.tables.columns import OF_WHAT, column, fraction, table
from vps_assets.tables.listings import LISTED_ON
from vps_ml.backbones.tasks import INPUTS
from vps_ml.features.unchanged import MADE_FROM

BY_INPUTS = column(pl.String, "What the model prices by", pa.Check.isin(list(INPUTS)))
CURVE = pl.List(pl.Float64)

COMPARABLE_ITEMS = table(
    "comparable_items",
    {
        "inputs": column(pl.String, "What the model prices by", pa.Check.isin(list(INPUTS)), unique=True),
        "model_id": column(pl.String, "The model that prices, as which the items are seen"),
        "items": column(pl.Int64, "Sold items", pa.Check.gt(0)),
        "first_sold_on": column(pl.Date, "Day of the first sale"),
        "last_sold_on": column(pl.Date, "Day of the last"),
        "path": column(pl.String, "Artefact folder under VPS_HOME"),
    },
)
SUGGESTION_COMPARABLES = table(
    "suggestion_comparables",
    {
        "listing_id": column(pl.String, "An open listing that has a price"),
        "listed_on": LISTED_ON,
        "rank": column(pl.Int64, "1 is the most like it", pa.Check.ge(1)),
        "comparable_id": column(pl.String, "A sold listing of its category"),
        "category": column(pl.String, "Of both"),
        "sold_on": column(pl.Date, "UTC day of its sale, before listed_on"),
        "sold_price": column(pl.Float64, "What it sold for, money", pa.Check.gt(0)),
        "group_key": column(pl.String, "Its item: another than the listing's and than the other ranks'"),
        "photo_hash": column(pl.String, "SHA-256 of its photo's bytes"),
        "model_id": column(pl.String, "The model that priced the listing, as which both are seen"),
        MADE_FROM: OF_WHAT,
    },
    unique=["listing_id", "rank"],
)
COMPARABLE_REPORTS = table(
    "comparable_reports",
    {
        "inputs": column(pl.String, "What the model prices by", pa.Check.isin(list(INPUTS)), unique=True),
        "model_id": column(pl.String, "The champion, as it was judged"),
        "split_kind": column(pl.String, "group or time: of whose test listings", pa.Check.isin(["group", "time"])),
        "tested": column(pl.Int64, "Test listings"),
        "qualified": column(pl.Int64, "Of which qualified"),
        "shown": column(pl.Int64, "Of these, with five comparables; the figures are of them"),
        "male": column(pl.Float64, "Mean |ln error| of the champion", null=True),
        "male_of_comparables": column(pl.Float64, "Of the median of what the five sold for", null=True),
        "male_of_category": column(pl.Float64, "Of the category's median as of the listing day", null=True),
        "difference": column(pl.Float64, "Comparables' less the category's: negative if they tell more", null=True),
        "low": column(pl.Float64, "2.5% of draws of groups are below", null=True),
        "high": column(pl.Float64, "2.5% are above", null=True),
        "suggested_inside": column(
            pl.Float64, "Share of suggested prices between the least and the highest of the five", fraction(), null=True
        ),
        "sold_inside": column(pl.Float64, "Share of sold prices between them", fraction(), null=True),
    },
)


def curve(what: str) -> pa.Column:
    """A column with a figure for each of `log_ratio`."""
    return column(CURVE, what, null=True)


def ratio(name: str, what: str) -> dict[str, pa.Column]:
    """A price as ln(asking / suggested), and the ends of its interval."""
    ends = {"": what, "_low": "5% of draws of the fit are below", "_high": "5% are above"}
    return {f"{name}{end}": column(pl.Float64, told, null=True) for end, told in ends.items()}


SALE_CHANCES = table(
    "sale_chances",
    {
        "inputs": BY_INPUTS,
        "model_id": column(pl.String, "The model that suggests"),
        "category": column(pl.String, "A category; all: of one that has not been seen"),
        "within_days": column(pl.Int64, "Days from the listing on", pa.Check.gt(0)),
        "listings": column(pl.Int64, "Listings with an asking price that it was learnt from", pa.Check.gt(0)),
        "sales": column(pl.Int64, "Of these, sold", pa.Check.ge(0)),
        "known_until": column(pl.Date, "Newest listing or sale that was known"),
        "log_ratio": column(CURVE, "ln(asking / suggested price) of the curves' points"),
        "chance": column(CURVE, "Chance of a sale of items for which sellers ask so much"),
        "chance_low": column(CURVE, "5% of draws of the fit are below"),
        "chance_high": column(CURVE, "5% are above"),
        "chosen_chance": curve("Chance of a sale if so much is asked whatever the item is worth; null: not told"),
        "chosen_chance_low": curve("5% of draws of the fit are below"),
        "chosen_chance_high": curve("5% are above"),
        **ratio("price_at_50", "ln(asking / suggested) of the highest price that sells with an even chance"),
        **ratio("price_at_80", "The same with a chance of .8"),
        **ratio("most_gain", "The same of the price that brings most in expectation"),
    },
    unique=["inputs", "category", "within_days"],
)
SALE_REPORTS = table(
    "sale_reports",
    {
        "inputs": BY_INPUTS,
        "model_id": column(pl.String, "The model that suggests"),
        "within_days": column(pl.Int64, "Days from the listing on", pa.Check.gt(0)),
        "segment": column(pl.String, "all, or a category"),
        "listings": column(pl.Int64, "Listings of the newer half of the days whose outcome is known"),
        "sold_share": column(pl.Float64, "Of these, sold within these days", fraction()),
        "mean_chance": column(pl.Float64, "What was foretold, on average", fraction()),
        "brier": column(pl.Float64, "Mean squared error of the chance", fraction()),
        "brier_kaplan_meier": column(
            pl.Float64, "Of the share that the category had sold in such a time (Kaplan and Meier)", fraction()
        ),
        "difference": column(pl.Float64, "The first less the second: negative if the asking price tells something"),
        "low": column(pl.Float64, "2.5% of draws of groups are below"),
        "high": column(pl.Float64, "2.5% are above"),
        "calibration_error": column(
            pl.Float64, "Mean |foretold less sold share| of the tenths; null of fewer than 200", null=True
        ),
        "chance_by_tenth": column(CURVE, "Mean chance of each tenth, lowest first", null=True),
        "sold_by_tenth": column(CURVE, "Share of each tenth that sold", null=True),
    },
    unique=["inputs", "within_days", "segment"],
)
