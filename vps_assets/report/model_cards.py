"""A card for each model in force: what it learnt from, how good it is, and where it is known to be weak.

After Mitchell et al., Model Cards for Model Reporting (2019): what a reader needs to decide whether to trust a price.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from vps_assets.report.comparisons import BY, SIDES, percent, shown

FEWEST = 20
"""Qualified test listings that a segment needs to be called weak."""
FOLLOWS = "what is served follows the newest sales (`range_adaptation`)"


@dataclass(frozen=True)
class ModelCard:
    """One model in force."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """(what, the figure with its interval and number)."""


def model_cards(
    champions: pl.DataFrame, reports: pl.DataFrame, card_of: Callable[[str], Mapping[str, Any]]
) -> list[ModelCard]:
    """The cards of the models in force.

    Args:
        champions: rows of `champion_model`.
        reports: rows of `evaluation_reports` and `words_reports`, of which a model older than those has none.
        card_of: model id -> the card of its artefact; empty if that is gone.
    """
    return [card_of_champion(row, reports, card_of) for row in champions.to_dicts()]


def all_reports(evaluation_reports: pl.DataFrame, words_reports: pl.DataFrame) -> pl.DataFrame:
    """The rows of both tables, each model's once, with the columns that both have."""
    columns = [name for name in words_reports.columns if name in evaluation_reports.columns]
    rows = pl.concat([evaluation_reports.select(columns), words_reports.select(columns)])
    return rows.unique(["model_id", "segment"], keep="first", maintain_order=True)


def card_of_champion(
    champion: Mapping[str, Any], reports: pl.DataFrame, card_of: Callable[[str], Mapping[str, Any]]
) -> ModelCard:
    """The card of one champion."""
    model_id, served_as = champion["model_id"], champion["served_as"]
    judged = [("judged", learnt_from(model_id, card_of(model_id)))]
    prices = [("prices", learnt_from(served_as, card_of(served_as)))] if served_as else []
    recipe = card_of(model_id).get("recipe") or {}
    mine = reports.filter(pl.col("model_id") == model_id)
    whole = mine.filter(pl.col("segment") == "all").to_dicts()
    figures = measured(whole[0]) if whole else [("figures", "it is older than the models that are evaluated now")]
    return ModelCard(
        f"The model that prices by {BY[champion['inputs'] or 'photo']}",
        (
            *judged,
            *prices,
            ("recipe", f"{recipe.get('name', 'unknown')}, seed {card_of(model_id).get('seed', 'unknown')}"),
            ("decision", f"{champion['decision']}: {champion['evidence']}"),
            *figures,
            ("weak where", weak_segments(mine, whole[0]) if whole else "not evaluated now"),
            (
                "not for",
                "what was never sold here, goods from a shop, and prices as advice to buy: it tells what sellers got",
            ),
        ),
    )


def learnt_from(model_id: str, card: Mapping[str, Any]) -> str:
    """Which artefact it is, and the listings that it was fitted on."""
    if not card.get("trained_on"):
        return f"{model_id}; its files are gone" if not card else model_id
    days = f"{card.get('first_listed_on')} to {card.get('last_listed_on')}"
    return f"{model_id}, fitted on {card['trained_on']:,} sold listings of {days}"


def measured(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures over all test listings."""
    tested = f"{row['tested']:,} listings that it had not seen, split {SIDES[row['split_kind']]}"
    ranged = "–" if row["range_coverage"] is None else percent(row["range_coverage"])
    return [
        ("tested on", tested),
        ("gets a price", f"{percent(row['coverage'])} of these; {percent(row['constraint_value'])} were asked for"),
        ("MALE", f"{with_interval(row, 'male')} of those; {shown(row['male_of_all'])} of all"),
        ("AURC", with_interval(row, "aurc")),
        (
            "price range",
            f"{ranged} sold within it as calibrated, {percent(row['range_level'])} were promised; {FOLLOWS}",
        ),
    ]


def with_interval(row: Mapping[str, Any], name: str) -> str:
    """A figure with its 95% interval over other draws of listings."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return shown(row[name]) if low is None else f"{shown(row[name])} [{shown(low)}, {shown(high)}]"


def weak_segments(mine: pl.DataFrame, whole: Mapping[str, Any]) -> str:
    """The categories whose error is surely above that of all, the worst first; each by itself, not all at once."""
    of_segments = mine.filter(pl.col("segment") != "all", pl.col("qualified") >= FEWEST)
    weak = of_segments.filter(pl.col("male_low") > (whole["male"] or 0.0)).sort("male", descending=True)
    told = [f"{r['segment']} (MALE {with_interval(r, 'male')}, {r['qualified']:,} priced)" for r in weak.to_dicts()]
    few = mine.filter(pl.col("segment") != "all", pl.col("qualified") < FEWEST).sort("segment")["segment"].to_list()
    unknown = f"; too few tested to tell: {', '.join(few)}" if few else ""
    return (", ".join(told) or f"no category with {FEWEST} priced is surely worse than all") + unknown


def card_markdown(card: ModelCard) -> str:
    """The card as the Dagster UI shows it."""
    rows = [f"| {what} | {told} |" for what, told in ((what, told.replace("|", r"\|")) for what, told in card.facts)]
    return "\n".join([f"| {card.title} | |", "|---|---|", *rows])
