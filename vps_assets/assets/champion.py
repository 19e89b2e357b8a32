"""The model in force: promoted on the newest held-out days, not assumed; and how it is rolled back."""

from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import (
    ROLLED_BACK,
    Verdict,
    beside_baselines,
    challenger,
    champion_of,
    champion_rows,
    decided,
    decision_row,
    in_order,
    inputs_in,
    last_served_as,
    looks,
    past_decisions,
    rolled_back,
    served_by_inputs,
    served_in_force,
    with_decisions,
)
from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain, table_options
from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.orchestration.tracking import tag_champions
from vps_assets.report.model_cards import all_reports, card_markdown, model_cards
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import content_of, note_process
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.settings import Settings
from vps_ml.backbones.tasks import INPUTS
from vps_ml.evaluation.comparison import can_predict
from vps_ml.ops.comparison import ComparisonJob, ComparisonResult, compare_with_champion
from vps_ml.ops.suggestions import ChampionJob
from vps_ml.pricing.variants import SERVED_COVERAGE


def champion_jobs(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> ChampionJob:
    """The rows for the champions to judge, each by what its listing has.

    Raises:
        dg.Failure: no model of the photo has been promoted.
    """
    serving = served_by_inputs(champion_model)
    if "photo" not in serving:
        raise dg.Failure("There is no champion: materialise champion_model first.")
    return ChampionJob(rows, serving, settings.artefacts)


@dg.op
def comparison_job(
    settings: Settings,
    rows: pl.DataFrame,
    evaluation_reports: pl.DataFrame,
    words_reports: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
) -> list[ComparisonJob]:
    """For each kind of inputs the newest model of the served kind, the champion in force, and rows to compare them on.

    Raises:
        dg.Failure: there is no model of the photo to decide about.
    """
    in_force = champion_rows(settings.warehouse)
    history = past_decisions(settings.warehouse, in_force)
    jobs = []
    for inputs in INPUTS:
        best = challenger(evaluation_reports if inputs == "photo" else words_reports, inputs)
        if best is not None:
            jobs.append(job_of(settings, rows, inputs, best["model_id"], champion_of(in_force, inputs), history))
        elif inputs == "photo":
            raise dg.Failure(
                "The served model (δ = 0.7) has not been evaluated: materialise it, then evaluation_reports."
            )
    return jobs


def job_of(
    settings: Settings,
    rows: pl.DataFrame,
    inputs: str,
    challenger_id: str,
    in_force: pl.DataFrame | None,
    history: pl.DataFrame,
) -> ComparisonJob:
    """The comparison of the champion of these inputs with its challenger."""
    current = in_force["model_id"][0] if in_force is not None else None
    other = current != challenger_id and challenger_id not in rolled_back(history)
    champion_id = current if other and current is not None and can_predict(settings.artefacts, current) else None
    served_as = None if in_force is None else in_force["served_as"][0]
    lost = current == challenger_id and served_as is not None and not can_predict(settings.artefacts, served_as)
    may_win = other or lost
    return ComparisonJob(
        rows=rows if may_win else rows.clear(),
        inputs=inputs,
        current_id=current,
        champion_id=champion_id,
        challenger_id=challenger_id,
        coverage=SERVED_COVERAGE,
        looks=looks(history, challenger_id),
        first=challenger_id not in history["model_id"],
        may_win=may_win,
        recipe=settings.recipe,
        artefacts=settings.artefacts,
    )


def secured_history(warehouse: Warehouse, in_force: pl.DataFrame) -> pl.DataFrame:
    """All decisions, written with those of the rows in force, which are about to be overwritten."""
    history = past_decisions(warehouse, in_force)
    if in_force.height:
        warehouse.replace("champion_history", history, "true", [], {})
    return history


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_decision(
    context: dg.OpExecutionContext,
    settings: Settings,
    mlflow: dg.ResourceParam[Any],
    results: list[ComparisonResult],
    model_comparisons: pl.DataFrame,
    evaluation_reports: pl.DataFrame,
    words_reports: pl.DataFrame,
) -> pl.DataFrame:
    """Decide, and write it: about the champions in force now, which may have changed during the comparison."""
    in_force = champion_rows(settings.warehouse)
    history = secured_history(settings.warehouse, in_force)
    rows = [
        row_decided(settings, result, champion_of(in_force, result.inputs), history, model_comparisons)
        for result in results
    ]
    decided_about = [result.inputs for result in results]
    kept = in_force.filter(~pl.col("inputs").is_in(decided_about))
    champions = in_order(pl.concat([*rows, kept]))
    decisions = {
        f"{name} ({row['inputs'][0]})": str(row[name][0])
        for row in rows
        for name in ("model_id", "decision", "evidence")
    }
    cards = cards_of(settings, champions, evaluation_reports, words_reports)
    context.add_output_metadata({**decisions, **cards})
    tag_champions(mlflow, context.log, settings.data_directory, champions)
    return champions


def cards_of(
    settings: Settings, champions: pl.DataFrame, evaluation_reports: pl.DataFrame, words_reports: pl.DataFrame
) -> dict[str, dg.MarkdownMetadataValue]:
    """The cards of the models in force, as metadata."""
    reports = all_reports(evaluation_reports, words_reports)
    cards = model_cards(champions, reports, settings.artefacts.models.told)
    return {card.title: dg.MetadataValue.md(card_markdown(card)) for card in cards}


def row_decided(
    settings: Settings,
    result: ComparisonResult,
    in_force: pl.DataFrame | None,
    history: pl.DataFrame,
    model_comparisons: pl.DataFrame,
) -> pl.DataFrame:
    """The row of `champion_model` for one kind of inputs."""
    current = in_force["model_id"][0] if in_force is not None else None
    if current is not None and current not in (result.challenger_id, result.current_id):
        verdict = Verdict("refused", current, f"{current} took the champion's place while it was compared")
    else:
        verdict = decided(current, result.challenger_id, result.comparison, rolled_back(history))
    promoted = verdict.decision == "promoted"
    beside = beside_baselines(model_comparisons, result.split_kind, result.inputs) if promoted else ""
    fits_verdict = promoted or current == result.current_id  # else the refit is of a champion that no longer is one
    goes_on = not promoted and (not fits_verdict or result.served_as is None)
    served_as = result.served_as
    if goes_on:
        served_as = None if in_force is None else served_in_force(in_force, settings.artefacts)
    of_refit = result.refit_evidence if fits_verdict else ""
    more = (beside, of_refit, f"goes on as {served_as or verdict.model_id}" if of_refit and goes_on else "")
    verdict = replace(verdict, evidence="; ".join(filter(None, (verdict.evidence, *more))), served_as=served_as)
    return decision_row(verdict, result.inputs, current, result.challenger_id, settings.artefacts)


champion_model = op_chain(
    "champion_model",
    "evaluation",
    """The models in force, one each for a photo, for words and for both, and what was decided about the latest
challenger of each.""",
    [sold_features, comparison_job, compare_with_champion, record_decision],
)


@dg.asset(**table_options("champion_history", "evaluation"))
def champion_history(settings: Settings, champion_model: pl.DataFrame) -> pl.DataFrame:
    """Every promotion, refusal and rollback, oldest first: of which model, when, on what evidence."""
    return past_decisions(settings.warehouse, champion_model)


class Rollback(dg.Config):
    """Which model takes the champion's place."""

    to: str
    """The id of a model that was champion before; the one in force is not promoted again, unless by hand."""


@dg.op(pool=WRITER)
def record_rollback(
    context: dg.OpExecutionContext, config: Rollback, settings: Settings, mlflow: dg.ResourceParam[Any]
) -> None:
    """Put a model in force by hand: one row is written, so neither the comparison nor its accelerator is waited for.

    Raises:
        dg.Failure: there is no champion to replace, or the model never was one or cannot predict.
    """
    note_process(context.instance, context.run_id)
    warehouse, artefacts = settings.warehouse, settings.artefacts
    in_force = champion_rows(warehouse)
    history = past_decisions(warehouse, in_force)
    inputs = inputs_in(history, config.to)
    of_inputs = None if inputs is None else champion_of(in_force, inputs)
    if inputs is None or of_inputs is None:
        raise dg.Failure(f"{config.to} is no champion of champion_history.", allow_retries=False)
    current = of_inputs["model_id"][0]
    if config.to == current:
        context.log.info(f"{current} is in force already")
        return
    if not can_predict(artefacts, config.to):
        raise dg.Failure(f"Some of the files of {config.to} are gone.", allow_retries=False)
    served_as = last_served_as(history, config.to, artefacts)
    evidence = f"by hand, instead of {current}, which is not promoted again"
    verdict = Verdict(ROLLED_BACK, config.to, evidence, served_as=served_as)
    row = decision_row(verdict, inputs, current, current, artefacts)
    history = with_decisions(secured_history(warehouse, in_force), row)
    row = in_order(pl.concat([row, in_force.filter(pl.col("inputs") != inputs)]))
    before = warehouse.records().made.get("champion_model", {}).get(WHOLE, Fingerprint(""))
    after = Fingerprint(before.basis, before.sales, content_of("champion_model", row))
    noted = basis_of("champion_history", WHOLE, settings.recipe, Records({"champion_model": {WHOLE: after}}))
    warehouse.replace("champion_model", row, "true", [], {WHOLE: after})
    warehouse.replace("champion_history", history, "true", [], {WHOLE: Fingerprint(noted) if noted else None})
    publication_of(warehouse).publish()
    tag_champions(mlflow, context.log, settings.data_directory, row)
    metadata: dict[str, Any] = {"model_id": config.to, "decision": verdict.decision, "evidence": verdict.evidence}
    reports = [aligned(warehouse.read(name), TABLES[name]) for name in ("evaluation_reports", "words_reports")]
    context.log_event(dg.AssetMaterialization("champion_model", metadata=metadata | cards_of(settings, row, *reports)))
    context.log_event(dg.AssetMaterialization("champion_history", metadata=metadata))


@dg.job(description="Puts a model in force by hand, instead of the champion.")
def rollback_job() -> None:
    record_rollback()
