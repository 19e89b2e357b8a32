"""Which model prices open listings: pure decisions, and the history of all of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from vps_assets.report.comparisons import best_baseline
from vps_assets.tables.models import CHAMPION_HISTORY, CHAMPION_MODEL
from vps_assets.tables.schemas import aligned, conforming
from vps_assets.warehouse.database import Warehouse
from vps_ml.artefacts import Artefacts
from vps_ml.backbones.tasks import INPUTS, can_serve, inputs_of
from vps_ml.evaluation.comparison import Comparison, can_predict
from vps_ml.evaluation.resampling import AT_ITS_COVERAGE
from vps_ml.pricing.variants import SERVED

ROLLED_BACK = "rolled back"


BEHIND = "surely worse than the best baseline"
"""In a champion's evidence: `vps doctor` says to look."""


@dataclass(frozen=True)
class Verdict:
    """What is decided about a model."""

    decision: str
    """promoted, refused, kept or rolled back."""
    model_id: str
    """In force from now on."""
    evidence: str
    tested: int | None = None
    """Test listings that both models judged; None if nothing was compared."""
    served_as: str | None = None
    """Its refit on nine tenths of all sold listings, which prices in its place; None: it prices itself."""


def challenger(reports: pl.DataFrame, inputs: str) -> dict | None:
    """The report row of the served kind of model of these inputs on the newest held-out days (the split by time).

    If there is no time split yet (too few days), the split by group replaces it.
    """
    served = reports.filter(pl.col("segment") == "all", *(pl.col(k) == v for k, v in SERVED.items()))
    mine = [seen for seen in served["features"].unique() if can_serve(seen) and inputs_of(seen) == inputs]
    served = served.filter(pl.col("features").is_in(mine))
    newest = served.filter(pl.col("split_kind") == "time")
    candidates = served if newest.is_empty() else newest
    return None if candidates.is_empty() else candidates.sort("aurc", "model_id").row(0, named=True)


def beside_baselines(model_comparisons: pl.DataFrame, split_kind: str, inputs: str) -> str:
    """How the served kind of model stands against the best baseline at its own coverage, in one line; "" if unknown.

    It contains `BEHIND` if it is surely worse, by the interval of this comparison by itself.
    """
    best = None
    if inputs == "photo":  # the others' rivals are not read at their coverage
        best = best_baseline(model_comparisons, split_kind, AT_ITS_COVERAGE)
    if best is None:
        return ""
    apart = "surely better than the best baseline" if best["high"] < 0 else "not told apart from the best baseline"
    standing = BEHIND if best["low"] > 0 else apart
    return (
        f"{standing}, {best['against']}, at its coverage: MALE {best['value']:.4f} against "
        f"{best['against_value']:.4f}, difference {best['difference']:+.4f}, 95% of resamples {best['low']:+.4f} to "
        f"{best['high']:+.4f}"
    )


def decided(current: str | None, challenger_id: str, comparison: Comparison | None, out: Collection[str]) -> Verdict:
    """What is decided about the challenger.

    It replaces the champion only if it is better by a margin, and not by chance, on the newest held-out listings at
    equal coverage (`vps_ml.evaluation.comparison`), or if the champion cannot be compared because its files are gone.

    Args:
        current: the champion's id.
        challenger_id: the newest model of the served kind.
        comparison: None if there is nothing to compare.
        out: models that were rolled back: they stay out.
    """
    if current == challenger_id:
        return Verdict("kept", current, "the champion is the newest model of its kind")
    if current and challenger_id in out:
        return Verdict("refused", current, "it was rolled back before, and stays out until it is trained anew")
    if current is None:
        return Verdict("promoted", challenger_id, "there was no champion")
    if comparison is None:
        return Verdict("promoted", challenger_id, f"the champion {current} cannot judge: its files are gone")
    decision, model_id = ("promoted", challenger_id) if comparison.better else ("refused", current)
    return Verdict(decision, model_id, comparison.evidence, comparison.judged)


def decision_row(
    verdict: Verdict, inputs: str, current: str | None, challenger_id: str, artefacts: Artefacts
) -> pl.DataFrame:
    """The row of `champion_model` after a verdict, `current` having been in force before it for these inputs."""
    row = {
        "inputs": inputs,
        "model_id": verdict.model_id,
        "served_as": verdict.served_as,
        "path": artefacts.model_path(verdict.served_as or verdict.model_id),
        "challenger_id": challenger_id,
        "instead_of": current if verdict.model_id != current else None,
        "decision": verdict.decision,
        "evidence": verdict.evidence,
        "tested": verdict.tested,
        "decided_at": datetime.now(UTC),
    }
    return conforming(pl.DataFrame([row]), CHAMPION_MODEL)


def with_inputs(rows: pl.DataFrame) -> pl.DataFrame:
    """Champions or decisions, those of before words were read being of the photo alone."""
    return rows.with_columns(pl.col("inputs").fill_null("photo"))


def in_order(champions: pl.DataFrame) -> pl.DataFrame:
    """The champions' rows, always in one order: what is made from them is made anew where their content is another."""
    place = {inputs: number for number, inputs in enumerate(INPUTS)}
    return champions.sort(pl.col("inputs").replace_strict(place, return_dtype=pl.Int64))


def all_champions(champion_model: pl.DataFrame) -> pl.DataFrame:
    """The rows of the table `champion_model`, also of one that an older version wrote."""
    return with_inputs(aligned(champion_model, CHAMPION_MODEL))


def champion_of(champion_model: pl.DataFrame, inputs: str) -> pl.DataFrame | None:
    """The champion's row for these inputs; None if there is none."""
    rows = all_champions(champion_model).filter(pl.col("inputs") == inputs)
    return None if rows.is_empty() else rows


def served_by_inputs(champion_model: pl.DataFrame) -> dict[str, str]:
    """Inputs -> the model that prices by them."""
    return {inputs: served_id(champion) for inputs, champion in champions_by_inputs(champion_model).items()}


def champions_by_inputs(champion_model: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Inputs -> the champion's row, of those that there are."""
    found = {inputs: champion_of(champion_model, inputs) for inputs in INPUTS}
    return {inputs: row for inputs, row in found.items() if row is not None}


def served_id(champion: pl.DataFrame) -> str:
    """The model that prices: the champion's refit, or the champion itself if it has none."""
    row = champion.row(0, named=True)
    return row.get("served_as") or row["model_id"]


def served_in_force(champion_model: pl.DataFrame, artefacts: Artefacts) -> str | None:
    """The champion's refit, if it has one that can predict: a lost or damaged one gives way to the champion itself."""
    served_as = champion_model["served_as"][0]
    return served_as if served_as is not None and can_predict(artefacts, served_as) else None


def last_served_as(history: pl.DataFrame, model_id: str, artefacts: Artefacts) -> str | None:
    """What a model was served as when it was promoted last, if that can still predict."""
    rows = history.filter(pl.col("model_id") == model_id).sort("decided_at")["served_as"].drop_nulls()
    return rows[-1] if rows.len() and can_predict(artefacts, rows[-1]) else None


def champion_rows(warehouse: Warehouse) -> pl.DataFrame:
    """The rows of `champion_model` as they are stored."""
    stored = warehouse.read("champion_model")
    return in_order(all_champions(pl.DataFrame() if stored is None else stored))


def past_decisions(warehouse: Warehouse, champion_model: pl.DataFrame) -> pl.DataFrame:
    """All decisions, also those that a killed run did not get into `champion_history`."""
    history = with_inputs(aligned(warehouse.read("champion_history"), CHAMPION_HISTORY))
    return with_decisions(history, champion_model)


def with_decisions(history: pl.DataFrame, champion_model: pl.DataFrame) -> pl.DataFrame:
    """The history with the decisions in `champion_model`, once.

    A decision that repeats the one before it word for word (two runs at once, an evaluation of the same rows) is left
    out.
    """
    model = pl.when(pl.col("decision") == ROLLED_BACK).then("model_id").otherwise("challenger_id")
    served_as = pl.when(pl.col("decision") != "refused").then("served_as")
    new = with_inputs(champion_model).filter(pl.col("decision") != "kept")
    new = new.with_columns(served_as=served_as, model_id=model)
    rows = pl.concat([history, new.select(history.columns)])
    words = pl.struct("model_id", "decision", "evidence")
    ordered = rows.sort("decided_at", "inputs")
    return ordered.filter((words != words.shift().over("inputs")).fill_null(value=True))


def rolled_back(history: pl.DataFrame) -> set[str]:
    """The models that were rolled back."""
    return set(history.filter(pl.col("decision") == ROLLED_BACK)["instead_of"].drop_nulls())


def looks(history: pl.DataFrame, challenger_id: str) -> list[int]:
    """On how many listings a model was compared with a champion, each time."""
    return history.filter(pl.col("model_id") == challenger_id)["tested"].drop_nulls().to_list()


def champions(history: pl.DataFrame) -> set[str]:
    """The models that were in force at some time."""
    in_force = history.filter(pl.col("decision") != "refused")["model_id"]
    return {*in_force, *history["instead_of"].drop_nulls()}


def inputs_in(history: pl.DataFrame, model_id: str) -> str | None:
    """The inputs for which a model was in force at some time; None if it never was."""
    named = (pl.col("model_id") == model_id) & (pl.col("decision") != "refused")
    rows = history.filter(named | (pl.col("instead_of") == model_id))
    return None if rows.is_empty() else rows["inputs"][-1]


def earlier_champion(history: pl.DataFrame, current: str, artefacts: Artefacts) -> str | None:
    """The model that was promoted before the one in force, that has its files and was not rolled back.

    `history` is that of the model's inputs.
    """
    promoted = history.filter(pl.col("decision") == "promoted").sort("decided_at")["model_id"].to_list()
    last = len(promoted) - promoted[::-1].index(current) - 1 if current in promoted else len(promoted)
    out = rolled_back(history) | {current}
    candidates = (model_id for model_id in reversed(promoted[:last]) if model_id not in out)
    return next((model_id for model_id in candidates if can_predict(artefacts, model_id)), None)
