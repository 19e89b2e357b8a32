"""Which model prices open listings: promoted on the newest held-out days, not assumed."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from vps_assets.assets.evaluation import ALL
from vps_assets.assets.options import table_options
from vps_assets.resources.io import Settings

SERVED = {"objective": "cross_fitted", "constraint_kind": "percentile", "constraint_value": 0.7, "seed": 0}
"""What is served: seven sellers in ten get a price, the operator's choice of δ and not the least error's."""


def challenger(evaluation_reports: pl.DataFrame) -> dict | None:
    """The report row of the served kind of model on the newest held-out days (the split by time).

    Where there is no time split yet (too few days), the split by group stands in.
    """
    served = evaluation_reports.filter(pl.col("segment") == ALL, *(pl.col(k) == v for k, v in SERVED.items()))
    newest = served.filter(pl.col("split_kind") == "time")
    candidates = served if newest.is_empty() else newest
    return None if candidates.is_empty() else candidates.sort("aurc", "model_id").row(0, named=True)


def decided(current: dict | None, best: dict, reports: pl.DataFrame, models: pl.DataFrame, now: datetime) -> dict:
    """The champion's row after the latest evaluation.

    The champion in force is refused its place only to a model that beats it on the same held-out rows. If the
    latest evaluation no longer covers it (its backbones or training rows were replaced), the challenger takes over.
    """
    path = models.filter(pl.col("model_id") == best["model_id"])["path"].item()
    evidence = f"AURC {best['aurc']:.4f}, MALE {best['male_of_all']:.4f} of all {best['tested']} test listings"
    incumbent = None
    if current:
        standing = reports.filter(pl.col("segment") == ALL, pl.col("model_id") == current["model_id"])
        incumbent = None if standing.is_empty() else standing.row(0, named=True)
    if current and incumbent and current["model_id"] == best["model_id"]:
        model_id, path, decision = current["model_id"], current["path"], "kept"
    elif current and incumbent and incumbent["aurc"] <= best["aurc"]:
        model_id, path, decision = current["model_id"], current["path"], "refused"
        evidence += f"; the champion has {incumbent['aurc']:.4f}"
    else:
        model_id, decision = best["model_id"], "promoted"
        before = f"{incumbent['aurc']:.4f} before" if incumbent else "no champion on the same rows"
        evidence += f" ({best['split_kind']} split); {before}"
    return {
        "model_id": model_id,
        "path": path,
        "challenger_id": best["model_id"],
        "decision": decision,
        "evidence": evidence,
        "decided_at": now,
    }


def folder_in_force(settings: Settings, champion_model: pl.DataFrame) -> Path:
    """The champion's artefact folder.

    Raises:
        dg.Failure: no model has been promoted.
    """
    if champion_model.is_empty():
        raise dg.Failure("There is no champion: materialise champion_model first.")
    return Path(settings.home) / champion_model["path"][0]


@dg.asset(**table_options("champion_model", "evaluation"))
def champion_model(
    context: dg.AssetExecutionContext,
    settings: Settings,
    evaluation_reports: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """The model in force, and what was decided of the latest challenger: one row."""
    best = challenger(evaluation_reports)
    if best is None:
        raise dg.Failure("The served model (δ = 0.7) has not been evaluated: materialise it, then evaluation_reports.")
    before = settings.warehouse.read("champion_model")
    current = None if before is None or before.is_empty() else before.row(0, named=True)
    row = decided(current, best, evaluation_reports, percentile_pricing_models, datetime.now(UTC))
    context.add_output_metadata({name: str(row[name]) for name in ("model_id", "decision", "evidence")})
    return pl.DataFrame([row])


@dg.asset(**table_options("champion_history", "evaluation"))
def champion_history(settings: Settings, champion_model: pl.DataFrame) -> pl.DataFrame:
    """Every promotion and refusal, oldest first: of which model, when, on what evidence."""
    before = settings.warehouse.read("champion_history")
    news = champion_model.filter(pl.col("decision") != "kept").select(
        pl.col("challenger_id").alias("model_id"), "decided_at", "decision", "evidence"
    )
    rows = news if before is None else pl.concat([before, news])
    return rows.unique(["model_id", "decided_at"], maintain_order=True).sort("decided_at")
