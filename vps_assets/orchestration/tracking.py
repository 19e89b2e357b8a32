"""What evaluations found, as runs of MLflow, where `VPS_MLFLOW` names one (the extra `mlflow`; off by default).

Dagster's integration gives each Dagster run that evaluates one MLflow run; the models that it reports are runs beneath
it, each once, with what tells them apart as parameters, the figures over all test listings with their intervals as
metrics, and their losses by epoch. Tags say which reports a model is in, what it prices by, whether it is a baseline,
and which models are in force.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging import Logger, getLogger
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from vps_assets.errors import one_line
from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.backbones.tasks import inputs_of
from vps_ml.pricing.baselines import is_gated
from vps_ml.pricing.calibration import ALL
from vps_ml.pricing.variants import CURVES, named

if TYPE_CHECKING:
    from dagster_mlflow.resources import MlFlow
    from mlflow import MlflowClient

EXPERIMENT = "vps"
PARAMETERS = ("constraint_kind", "constraint_value", "objective", "split_kind", "seed")
FIGURES = ("tested", "qualified", "coverage", "male", "rmsle", "male_of_all", "aurc", "range_coverage", "range_width")
ENDS = tuple(f"{name}_{end}" for name in ("male", "rmsle", "aurc", "range_coverage") for end in ("low", "high"))
"""Of the figures' 95% intervals over other draws of listings."""
CHAMPION = "champion"
"""Tag of the models in force: what they price by."""
HOME = "home"
"""Tag: the data directory."""
MOST_RUNS = 50_000
"""That MLflow gives at once."""
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
    recipe: str,
) -> None:
    """Make a run beneath the active one for each model of a report, once; what MLflow refuses is a warning.

    Args:
        mlflow: the resource `mlflow`; with None nothing is done.
        context: of the report's asset.
        rows: of the report; those over all test listings are logged.
        models: with `model_id`, `path` and `trained_on`.
        artefacts: where the models' cards are.
        recipe: the name of the one in force.
    """
    if mlflow is None:
        return
    report = context.asset_key.to_user_string()
    made = {model_id: (path, trained_on) for model_id, path, trained_on in models.select(MODEL).iter_rows()}
    whole = rows.filter(pl.col("segment") == ALL).unique("model_id", keep="first", maintain_order=True)
    with warned(context.log):
        home = str(artefacts.root)
        logged = models_logged(mlflow, home, recipe)
        for row in whole.iter_rows(named=True):
            path, trained_on = made.get(row["model_id"], (None, None))
            if (known := logged.get(row["model_id"])) is not None:
                mlflow.tracking_client.set_tag(known, report, "yes")
            else:
                curves = artefacts.models.card(id_in_path(path)).get(CURVES, {}) if path else {}
                log_model(mlflow, home, report, row | {"trained_on": trained_on, "recipe": recipe}, curves)


MODEL = ("model_id", "path", "trained_on")


def models_logged(mlflow: "MlFlow", home: str, recipe: str) -> dict[str, str]:
    """Model -> its run beneath the active one, which is named by the day and the recipe."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

    client, parent = mlflow.tracking_client, mlflow.active_run().info
    began = datetime.fromtimestamp(parent.start_time / 1000, UTC)
    client.set_tag(parent.run_id, MLFLOW_RUN_NAME, f"evaluation of {began:%Y-%m-%d %H:%M} UTC, {recipe}")
    for name, value in (("recipe", recipe), (HOME, home)):
        client.set_tag(parent.run_id, name, value)
    beneath = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.run_id}'"
    runs = client.search_runs([mlflow.experiment.experiment_id], beneath, max_results=MOST_RUNS)
    return {run.data.tags["model_id"]: run.info.run_id for run in runs if "model_id" in run.data.tags}


def tag_champions(mlflow: "MlFlow | None", log: "dg.DagsterLogManager", home: str, champions: pl.DataFrame) -> None:
    """Tag this data directory's runs of the models in force with what they price by, and no others of its runs.

    Args:
        mlflow: the resource `mlflow`; with None nothing is done.
        log: where a refusal is a warning.
        home: the data directory, as `log_reports` tags it: others may tell the same server.
        champions: `champion_model`.
    """
    if mlflow is None:
        return
    in_force = dict(champions.select("model_id", "inputs").iter_rows())
    with warned(log):
        client, experiment = mlflow.tracking_client, [mlflow.experiment.experiment_id]
        ours = f"tags.{HOME} = '{home}'"
        for run in client.search_runs(experiment, f"{ours} and tags.{CHAMPION} LIKE '%'", max_results=MOST_RUNS):
            if run.data.tags.get("model_id") not in in_force:
                client.delete_tag(run.info.run_id, CHAMPION)
        for model_id, inputs in in_force.items():
            mine = f"{ours} and tags.model_id = '{model_id}'"
            for run in client.search_runs(experiment, mine, max_results=MOST_RUNS):
                client.set_tag(run.info.run_id, CHAMPION, inputs)


def log_model(
    mlflow: "MlFlow", home: str, report: str, row: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]]
) -> None:
    """One model's run."""
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client, parent = mlflow.tracking_client, mlflow.active_run().info.run_id
    told = {
        "model_id": row["model_id"],
        HOME: home,
        "inputs": inputs_of(row["features"]),
        "baseline": "yes" if row["constraint_kind"] == "baseline" else "no",
        report: "yes",
    }
    tags = {MLFLOW_PARENT_RUN_ID: parent, **told}
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
    metrics = [Metric(name, float(row[name]), now_ms, 0) for name in (*FIGURES, *ENDS) if row[name] is not None]
    for network, curve in curves.items():
        for kind in ("training", "held_out"):
            name = f"{network}/{kind} loss"
            metrics += [Metric(name, loss, now_ms, 1 + curve["step"] * i) for i, loss in enumerate(curve[kind])]
    parameters = [Param(name, str(row[name])) for name in parameters_of(row) if row[name] is not None]
    for start in range(0, len(metrics), MOST_AT_ONCE):
        client.log_batch(run, metrics[start : start + MOST_AT_ONCE], parameters if start == 0 else ())


def parameters_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that tell a model from others: a baseline has no warm-up, a median no features."""
    baseline = row["constraint_kind"] == "baseline"
    features = ("features",) if is_gated(row["constraint_kind"], row["objective"]) else ()
    return (*PARAMETERS, *features, *(() if baseline else ("warm_up",)), "recipe", "trained_on")


def name_of_run(row: Mapping[str, Any]) -> str:
    """What tells a model from the others that are evaluated with it."""
    at = f", at {row['constraint_value']}" if row["constraint_kind"] == "baseline" else ""
    return f"{named(row)}{at}, by {row['split_kind']}, seed {row['seed']}"


@contextmanager
def warned(log: "dg.DagsterLogManager | Logger") -> Iterator[None]:
    """Whatever MLflow's client raises, of its own, its databases' or the network's, is a warning."""
    try:
        yield
    except Exception as error:
        log.warning(f"MLflow (VPS_MLFLOW) has not been told, the evaluation goes on: {one_line(error)}")
