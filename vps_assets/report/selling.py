"""What stands beside a price, in the report: sold items that are like it, and how fast items sell by what is asked."""

from collections.abc import Mapping
from math import exp
from typing import Any

import numpy as np
import polars as pl

from vps_assets.demo.market import WITHDRAWN_SHARE
from vps_assets.demo.sales import sold_within
from vps_assets.report.comparisons import BY, percent, shown
from vps_assets.report.published import Published
from vps_assets.report.tables import Table
from vps_ml.pricing.calibration import ALL

ASKED = (0.7, 0.85, 1.0, 1.2, 1.4)
"""Multiples of the suggested price that are told of."""


def comparable_table(published: Published) -> Table:
    """How far off the price of similar sold items is, beside the champion's and the category's."""
    rows = [
        (
            BY[row["inputs"]],
            f"{row['shown']:,} of {row['qualified']:,}",
            shown(row["male"]),
            shown(row["male_of_comparables"]),
            shown(row["male_of_category"]),
            "–" if row["low"] is None else f"{row['difference']:+.3f} ({row['low']:+.3f}, {row['high']:+.3f})",
            percent(row["suggested_inside"]),
            percent(row["sold_inside"]),
        )
        for row in published["comparable_reports"].to_dicts()
    ]
    columns = (
        "priced by",
        "with five",
        "MALE, champion",
        "MALE, their median",
        "MALE, category's median",
        "their median less the category's (95%)",
        "suggested price within their range",
        "sold within it",
    )
    note = (
        "Test listings that the champion prices, each beside the five most similar items that its category had sold "
        "before: evidence for a seller, not what the price is made from. Where the interval holds 0, their median "
        "tells no more of a price than the category's does."
    )
    return Table("Sold items that look similar", columns, rows, note)


def sale_table(published: Published) -> Table:
    """How well sales were foretold from what was asked."""
    rows = [
        (
            BY[row["inputs"]],
            f"{row['within_days']} days",
            f"{row['listings']:,}",
            percent(row["sold_share"]),
            percent(row["mean_chance"]),
            shown(row["calibration_error"]),
            shown(row["brier"]),
            shown(row["brier_kaplan_meier"]),
            f"{row['difference']:+.4f} ({row['low']:+.4f}, {row['high']:+.4f})",
        )
        for row in published["sale_reports"].filter(pl.col("segment") == ALL).to_dicts()
    ]
    columns = (
        "priced by",
        "sold within",
        "listings",
        "sold",
        "foretold",
        "calibration error",
        "Brier score",
        "Kaplan-Meier's",
        "difference (95%)",
    )
    note = (
        "Listings of the newer half of the days, each week by what was known before it. The calibration error is the "
        "mean over tenths of the chance; Kaplan-Meier's knows the category alone."
    )
    return Table("How fast items sell by what is asked", columns, rows, note)


def chances_of(row: Mapping[str, Any], curve: str) -> list[float | None]:
    """A curve of `sale_chances` at `ASKED`."""
    if row[curve] is None:
        return [None] * len(ASKED)
    return np.interp(np.log(ASKED), row["log_ratio"], row[curve]).tolist()


def asking_table(published: Published, truth: pl.DataFrame | None) -> Table:
    """The chance of a sale by what is asked: as sellers ask, as it is chosen; and, of the demo's market, as it is."""
    rows = []
    for row in published["sale_chances"].filter(pl.col("category") == ALL).to_dicts():
        told = {"as sellers ask": chances_of(row, "chance"), "if chosen so": chances_of(row, "chosen_chance")}
        if truth is not None:
            told["if chosen so, in truth"] = true_chances(published, truth, row)
        rows += [
            (BY[row["inputs"]], f"{row['within_days']} days", what, *map(percent, chances))
            for what, chances in told.items()
        ]
    columns = ("priced by", "sold within", "whose", *(f"asked {asked:g} ×" for asked in ASKED))
    note = (
        "Multiples of the suggested price. Whoever asks more has, most often, a better item than its photo tells, and "
        "it sells nearly as fast; the same item would not (docs/adr/0024). Of a category that has not been seen."
    )
    return Table("The chance of a sale by what is asked", columns, rows, note)


def true_chances(published: Published, truth: pl.DataFrame, row: Mapping[str, Any]) -> list[float | None]:
    """The demo market's own chance of a sale of open and test listings that are asked for at `ASKED` times the price.

    Args:
        published: the tables.
        truth: the market's.
        row: of `sale_chances`: inputs and number of days.
    """
    champion = published["champion_model"].filter(pl.col("inputs") == row["inputs"])["model_id"].implode()
    judged = published["evaluation_predictions"].filter(pl.col("model_id").is_in(champion), "qualified")
    items = judged.join(truth.select("listing_id", "worth"), on="listing_id")
    if items.is_empty():
        return [None] * len(ASKED)
    suggested = np.exp(items["predicted_log_price"].to_numpy()) / items["worth"].to_numpy()
    return [float((1 - WITHDRAWN_SHARE) * sold_within(asked * suggested, row["within_days"]).mean()) for asked in ASKED]


def price_table(published: Published) -> Table:
    """Which price sells how fast, and which brings most."""
    names = {"price_at_50": "an even chance", "price_at_80": "a chance of 80%", "most_gain": "brings most"}
    rows = [
        (BY[row["inputs"]], f"{row['within_days']} days", *(multiple(row, name) for name in names))
        for row in published["sale_chances"].filter(pl.col("category") == ALL).to_dicts()
    ]
    note = (
        "Multiples of the suggested price, with 90% intervals; – where it is not known. What brings most: the price "
        "times the chance of a sale, less the usual discount. Intervals are of the fit alone."
    )
    return Table("What to ask by the suggested price alone", ("priced by", "within", *names.values()), rows, note)


def multiple(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    value, low, high = (exp(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f}, {high:.2f})"


def selling_tables(published: Published, truth: pl.DataFrame | None) -> list[Table]:
    """The tables of this module."""
    return [
        comparable_table(published),
        sale_table(published),
        asking_table(published, truth),
        price_table(published),
    ]
