"""The sentence a manager would read first: about the model that prices."""

from collections.abc import Mapping
from math import exp
from typing import Any

import polars as pl

from vps_assets.report.comparisons import SIDES, best_baseline, interval, overall, percent, shown
from vps_assets.report.published import Published
from vps_assets.report.tables import adaptation_of_champion, photos_champion
from vps_ml.evaluation.resampling import AT_ITS_COVERAGE


def headline(published: Published) -> str:
    """The sentence a manager would read first: about the model that prices, on the rows that it was judged on."""
    row = in_force(published)
    if row is None:
        return not_evaluated(published)
    sentence = (
        f"Asked to price {percent(row['constraint_value'])} of the photos, the model in force ({row['objective']}) "
        f"takes {percent(row['coverage'])} of {row['tested']:,} unseen items ({SIDES[row['split_kind']]}) and is off "
        f"by a typical factor of {exp(row['male'] or 0):.2f} (MALE {shown(row['male'])}, 95% interval "
        f"{shown(row['male_low'])} to {shown(row['male_high'])}); {covered_words(published, row['range_level'])}"
    )
    equal = best_baseline(published["model_comparisons"], row["split_kind"], AT_ITS_COVERAGE)
    overall_best = best_baseline(published["model_comparisons"], row["split_kind"])
    if equal is None or overall_best is None:
        return sentence + "."
    seeds = len(equal["model_ids"])
    kind = "it is" if seeds == 1 else f"its kind (MALE {shown(equal['value'])}, mean of {seeds} seeds) is"
    return (
        f"{sentence}. At that coverage {kind} {standing(equal)} {rival_of(equal)}, the best of what a user would pick "
        f"instead (MALE {shown(equal['against_value'])}; {interval(equal)}); over all coverages (AURC) it is "
        f"{standing(overall_best)} {rival_of(overall_best)} ({interval(overall_best)})."
    )


def not_evaluated(published: Published) -> str:
    """What to say of a champion that the newest models have not replaced: the tables are of those."""
    champion = photos_champion(published)
    if champion.is_empty():
        return "No model is in force."
    row = champion.row(0, named=True)
    return (
        f"{row['model_id']}, the model in force, is older than the models in these tables and holds against the newest "
        f"of its kind, {row['challenger_id']}: {row['evidence']}."
    )


def in_force(published: Published) -> dict[str, Any] | None:
    """The report row of the model that prices, over all test listings; None if it is not among those evaluated."""
    champion = photos_champion(published)
    if champion.is_empty():
        return None
    rows = overall(published["evaluation_reports"]).filter(pl.col("model_id") == champion["model_id"][0])
    return None if rows.is_empty() else rows.row(0, named=True)


def covered_words(published: Published, level: float) -> str:
    """How many of the champion's qualified test listings sold within the range of their day, in words."""
    rows = adaptation_of_champion(published).filter(pl.col("segment") == "all")
    tested = int(rows["tested"].sum())
    share = percent(int(rows["covered"].sum()) / tested) if tested else "–"
    return f"of these {tested:,}, {share} sold within the {percent(level)} range of their listing day"


def standing(row: Mapping[str, Any]) -> str:
    return {"yes": "ahead of", "no": "behind"}.get(row["verdict"], "not told apart from")


def rival_of(row: Mapping[str, Any]) -> str:
    return str(row["claim"]).split(" beats ")[-1].replace("_", " ")
