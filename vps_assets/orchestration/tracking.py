"""What evaluations found, as runs of MLflow, where `VPS_MLFLOW` names one (the extra `mlflow`; off by default).

Dagster's integration gives each Dagster run that evaluates one MLflow run; each report's models are runs beneath it,
with what tells them apart as parameters, the figures over all test listings as metrics, and their losses by epoch.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from logging import Logger, getLogger
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from vps_assets.errors import one_line
from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.pricing.calibration import ALL
from vps_ml.pricing.variants import CURVES

if TYPE_CHECKING:
    from dagster_mlflow.resources import MlFlow
    from mlflow import MlflowClient

EXPERIMENT = "vps"
PARAMETERS = ("constraint_kind", "constraint_value", "objective", "features", "warm_up", "split_kind", "seed")
FIGURES = ("tested", "qualified", "coverage", "male", "rmsle", "male_of_all", "aurc", "range_coverage", "range_width")
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Unless the environment says otherwise: an evaluation does not wait for minutes for a server that is gone. (For a
database that cannot be opened MLflow itself waits for a hundred seconds.)"""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # which is for answers
}
LOG = getLogger(__name__)
MOST_AT_ONCE = 1000
"""Metrics that MLflow takes in one request."""


@dg.resource(config_schema={"experiment_name": str, "mlflow_tracking_uri": dg.StringSource})
def mlflow_or_none(context: dg.InitResourceContext) -> Iterator["MlFlow | None"]:
    """The integration's resource; None, and a warning, where its server does not answer."""
    for name, value in (PATIENCE | QUIET).items():
        os.environ.setdefault(name, value)
    from dagster_mlflow.resources import MlFlow

    mlflow, log = None, context.log or LOG
    with warned(log):
        mlflow = MlFlow(context)
    yield mlflow
    if mlflow is not None:
        records, run_id = context.instance, context.run_id
        failed = records and run_id and records.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        with warned(log):
            mlflow.end_run("FAILED" if failed else "FINISHED")


def tracking(tracked: bool) -> dg.ResourceDefinition:
    """The resource `mlflow`: of the server that `VPS_MLFLOW` names, or nothing."""
    if not tracked:
        return dg.ResourceDefinition.none_resource()
    return mlflow_or_none.configured({"experiment_name": EXPERIMENT, "mlflow_tracking_uri": {"env": "VPS_MLFLOW"}})


def log_reports(
    mlflow: "MlFlow | None",
    context: dg.AssetExecutionContext,
    rows: pl.DataFrame,
    models: pl.DataFrame,
    artefacts: Artefacts,
) -> None:
    """Make a run beneath the active one for each model of a report; what MLflow refuses is a warning.

    Args:
        mlflow: the resource `mlflow`; with None nothing is done.
        context: of the report's asset.
        rows: of the report; those over all test listings are logged.
        models: with `model_id` and `path`.
        artefacts: where the models' cards are.
    """
    if mlflow is None:
        return
    report = context.asset_key.to_user_string()
    paths = dict(models.select("model_id", "path").iter_rows())
    whole = rows.filter(pl.col("segment") == ALL).unique("model_id", keep="first", maintain_order=True)
    with warned(context.log):
        for row in whole.iter_rows(named=True):
            path = paths.get(row["model_id"])
            log_model(mlflow, report, row, artefacts.models.card(id_in_path(path)).get(CURVES, {}) if path else {})


def log_model(mlflow: "MlFlow", report: str, row: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]]) -> None:
    """One model's run."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client, parent = mlflow.tracking_client, mlflow.active_run().info.run_id
    tags = {MLFLOW_PARENT_RUN_ID: parent, "report": report, "model_id": row["model_id"]}
    run = client.create_run(mlflow.experiment.experiment_id, tags=tags, run_name=name_of_run(row)).info.run_id
    try:
        log_figures(client, run, row, curves)
    except Exception:
        with suppress(Exception):  # so that it does not stay "running"
            client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run)


def log_figures(
    client: "MlflowClient", run: str, row: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]]
) -> None:
    """A model's parameters, figures and losses."""
    from mlflow.entities import Metric, Param

    now_ms = int(time.time() * 1000)
    metrics = [Metric(name, float(row[name]), now_ms, 0) for name in FIGURES if row[name] is not None]
    for network, curve in curves.items():
        for kind in ("training", "held_out"):
            name = f"{network}/{kind} loss"
            metrics += [Metric(name, loss, now_ms, 1 + curve["step"] * i) for i, loss in enumerate(curve[kind])]
    parameters = [Param(name, str(row[name])) for name in PARAMETERS]
    for start in range(0, len(metrics), MOST_AT_ONCE):
        client.log_batch(run, metrics[start : start + MOST_AT_ONCE], parameters if start == 0 else ())


def name_of_run(row: Mapping[str, Any]) -> str:
    """What tells a model from the others of its report."""
    kind = row["constraint_kind"]
    return f"{row['objective']} {row['features']}, {kind} {row['constraint_value']}, {row['split_kind']} {row['seed']}"


@contextmanager
def warned(log: "dg.DagsterLogManager | Logger") -> Iterator[None]:
    """Whatever MLflow's client raises, of its own, its databases' or the network's, is a warning."""
    try:
        yield
    except Exception as error:
        log.warning(f"MLflow (VPS_MLFLOW) has not been told, the evaluation goes on: {one_line(error)}")
