"""Which model prices open listings: promoted on the newest held-out days, not assumed."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from vps_assets.assets.evaluation import ALL
from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options, table_options
from vps_assets.assets.pricing import priced_rows, with_photo_paths
from vps_assets.tables.schemas import CHAMPION_HISTORY, CHAMPION_MODEL, aligned, conforming
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import Settings
from vps_ml.evaluation.comparison import Comparison, can_judge
from vps_ml.ops.comparison import ComparisonJob, compare_with_champion

SERVED_COVERAGE = 0.7
SERVED = {"objective": "cross_fitted", "constraint_kind": "percentile", "constraint_value": SERVED_COVERAGE, "seed": 0}
"""What is served: seven sellers in ten get a price, the operator's choice of δ and not the least error's."""


def challenger(evaluation_reports: pl.DataFrame) -> dict | None:
    """The report row of the served kind of model on the newest held-out days (the split by time).

    Where there is no time split yet (too few days), the split by group stands in.
    """
    served = evaluation_reports.filter(pl.col("segment") == ALL, *(pl.col(k) == v for k, v in SERVED.items()))
    newest = served.filter(pl.col("split_kind") == "time")
    candidates = served if newest.is_empty() else newest
    return None if candidates.is_empty() else candidates.sort("aurc", "model_id").row(0, named=True)


@dataclass(frozen=True)
class Verdict:
    """What is decided of a model."""

    decision: str
    """promoted, refused, kept or rolled back."""
    model_id: str
    """In force from now on."""
    evidence: str
    tested: int | None = None
    """Test listings that both judged; None where nothing was compared."""


def decided(current: str | None, challenger_id: str, comparison: Comparison | None, out: Collection[str]) -> Verdict:
    """What is decided of the challenger.

    The champion gives way only to a model that is better by a margin, and not by luck, on the newest held-out
    listings at equal coverage (`vps_ml.evaluation.comparison`), or where it cannot be compared because its files are
    gone.

    Args:
        current: the champion's id.
        challenger_id: the newest model of the served kind.
        comparison: None where there is nothing to compare.
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
    return Verdict(decision, model_id, comparison.told(), comparison.judged)


def champion_row(warehouse: Warehouse) -> pl.DataFrame | None:
    """The champion's row as it is stored; None where there is none."""
    row = warehouse.read("champion_model")
    return None if row is None or row.is_empty() else aligned(row, CHAMPION_MODEL)


def rolled_back(history: pl.DataFrame) -> set[str]:
    """The models that were rolled back."""
    return set(history.filter(pl.col("decision") == "rolled back")["instead_of"].drop_nulls())


def looks(history: pl.DataFrame, challenger_id: str) -> list[int]:
    """On how many listings a model was compared with a champion, each time."""
    return history.filter(pl.col("model_id") == challenger_id)["tested"].drop_nulls().to_list()


def earlier_champion(history: pl.DataFrame, current: str, home: Path) -> str | None:
    """The model that was promoted before the one in force, whose files are there and that was not rolled back."""
    promoted = history.filter(pl.col("decision") == "promoted").sort("decided_at")["model_id"].to_list()
    last = len(promoted) - promoted[::-1].index(current) - 1 if current in promoted else len(promoted)
    before = promoted[:last]
    out = rolled_back(history) | {current}
    return next((m for m in reversed(before) if m not in out and can_judge(home / folder_of(m), home)), None)


def with_decision(history: pl.DataFrame, champion_model: pl.DataFrame) -> pl.DataFrame:
    """The history with what `champion_model` says was decided, once.

    What repeats the decision before it word for word (two runs at once, an evaluation of the same rows) is no news.
    """
    model = pl.when(pl.col("decision") == "rolled back").then("model_id").otherwise("challenger_id")
    news = champion_model.filter(pl.col("decision") != "kept").with_columns(model_id=model)
    rows = pl.concat([history, news.select(history.columns)])
    said = pl.struct("model_id", "decision", "evidence")
    return rows.sort("decided_at").filter((said != said.shift()).fill_null(value=True))


def known_history(warehouse: Warehouse, champion_model: pl.DataFrame | None) -> pl.DataFrame:
    """All decisions, one that a killed run did not get into `champion_history` among them."""
    stored = warehouse.read("champion_history")
    history = aligned(pl.DataFrame() if stored is None else stored, CHAMPION_HISTORY)
    return history if champion_model is None else with_decision(history, champion_model)


def folder_of(model_id: str) -> str:
    """A price model's artefact folder under the data directory."""
    return f"models/{model_id}"


def folder_in_force(settings: Settings, champion_model: pl.DataFrame) -> Path:
    """The champion's artefact folder.

    Raises:
        dg.Failure: no model has been promoted.
    """
    if champion_model.is_empty():
        raise dg.Failure("There is no champion: materialise champion_model first.")
    return Path(settings.home) / champion_model["path"][0]


class Deciding(dg.Config):
    """What the launchpad may change."""

    roll_back_to: str = ""
    """A model that was champion before; it takes the place of the one in force, which stays out from then on."""


@dg.op
def comparison_job(
    config: Deciding,
    settings: Settings,
    rows: pl.DataFrame,
    evaluation_reports: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
) -> ComparisonJob:
    """The newest model of the served kind, the champion in force, and the rows to compare them on.

    Raises:
        dg.Failure: there is nothing to decide of.
    """
    best = challenger(evaluation_reports)
    if best is None:
        raise dg.Failure("The served model (δ = 0.7) has not been evaluated: materialise it, then evaluation_reports.")
    in_force = champion_row(settings.warehouse)
    current = in_force["model_id"][0] if in_force is not None else None
    history = known_history(settings.warehouse, in_force)
    out = rolled_back(history)
    challenger_id = best["model_id"]
    if config.roll_back_to and not can_judge(settings.at.path / folder_of(config.roll_back_to), settings.at.path):
        raise dg.Failure(
            f"There is no price model {config.roll_back_to} to roll back to, or some of its files are gone."
        )
    known = {"current": current, "challenger_id": challenger_id, "to": config.roll_back_to}
    champion = None
    if current and current != challenger_id and challenger_id not in out and not config.roll_back_to:
        folder = settings.at.path / folder_of(current)
        champion = str(folder) if can_judge(folder, settings.at.path) else None
    return ComparisonJob(
        rows=with_photo_paths(rows if champion else rows.clear(), settings.at),
        champion=champion,
        challenger=str(settings.at.path / folder_of(challenger_id)),
        coverage=SERVED_COVERAGE,
        looked=looks(history, challenger_id),
        home=settings.home,
        known=known,
    )


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_decision(
    context: dg.OpExecutionContext, settings: Settings, comparison: Comparison | None, known: dict
) -> pl.DataFrame:
    """Decide, and write it: of the champion in force now, for it may have been rolled back during the comparison."""
    in_force = champion_row(settings.warehouse)
    current, challenger_id = in_force["model_id"][0] if in_force is not None else None, known["challenger_id"]
    history = known_history(settings.warehouse, in_force)
    if in_force is not None:  # before it is overwritten
        settings.warehouse.replace("champion_history", history, "true", [], {})
    if known["to"] and known["to"] == current:  # asked for twice
        verdict = Verdict("kept", current, "it is in force already")
    elif known["to"]:
        challenger_id = current
        verdict = Verdict("rolled back", known["to"], f"by hand, instead of {current}, which stays out")
    elif current not in (None, challenger_id, known["current"]):
        verdict = Verdict("refused", current, f"{current} took the champion's place while it was compared")
    else:
        verdict = decided(current, challenger_id, comparison, rolled_back(history))
    row = {
        "model_id": verdict.model_id,
        "path": folder_of(verdict.model_id),
        "challenger_id": challenger_id or verdict.model_id,
        "instead_of": current if verdict.model_id != current else None,
        "decision": verdict.decision,
        "evidence": verdict.evidence,
        "tested": verdict.tested,
        "decided_at": datetime.now(UTC),
    }
    context.add_output_metadata({name: str(row[name]) for name in ("model_id", "decision", "evidence")})
    return conforming(pl.DataFrame([row]), CHAMPION_MODEL)


@dg.graph_asset(**graph_options("champion_model", "evaluation", {"pytorch", "duckdb"}))
def champion_model(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    evaluation_reports: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """The model in force, and what was decided of the latest challenger: one row."""
    statistics = marketplace_statistics, category_statistics, seller_statistics
    rows = priced_rows(clean_listings, image_embeddings, *statistics)
    job = comparison_job(rows, evaluation_reports, percentile_pricing_models)
    return record_decision(*compare_with_champion(job))


@dg.asset(**table_options("champion_history", "evaluation"))
def champion_history(settings: Settings, champion_model: pl.DataFrame) -> pl.DataFrame:
    """Every promotion, refusal and rollback, oldest first: of which model, when, on what evidence."""
    return known_history(settings.warehouse, champion_model)
