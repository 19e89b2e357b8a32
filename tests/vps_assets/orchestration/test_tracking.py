"""Evaluations in MLflow: on a real one where the extra is installed (`make test-mlflow`), left out elsewhere."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from vps_assets.errors import WrongSetting
from vps_assets.home import Home, tracked_by_mlflow
from vps_assets.orchestration.tracking import ENDS, log_reports, tag_champions, tracking
from vps_ml.cards import Contents
from vps_ml.pricing.variants import CURVES

CURVE = {"step": 3, "training": [0.9, 0.5], "held_out": [1.0]}
ROW = {
    "model_id": "m1",
    "segment": "all",
    "constraint_kind": "percentile",
    "constraint_value": 0.7,
    "objective": "blended",
    "features": "MSTFE",
    "warm_up": True,
    "split_kind": "group",
    "seed": 0,
    "tested": 40,
    "qualified": 28,
    "coverage": 0.7,
    "male": 0.25,
    "rmsle": 0.31,
    "male_of_all": 0.4,
    "aurc": None,
    "range_coverage": 0.8,
    "range_width": 1.1,
    **dict.fromkeys(ENDS),
    "male_low": 0.2,
    "male_high": 0.3,
}
MEDIAN = ROW | {
    "model_id": "m2",
    "objective": "category_median",
    "constraint_kind": "baseline",
    "constraint_value": 1.0,
}
ROWS = pl.DataFrame([ROW, ROW | {"segment": "phone", "male": 9.0}, MEDIAN])
WRONG = ["http://127.0.0.1:9", "nosuch://server", "sqlite:////proc/nowhere/mlflow.db", "mysql://host/db", "://"]
needs_mlflow = pytest.mark.skipif(not find_spec("dagster_mlflow"), reason="MLflow is not installed (make test-mlflow)")
quiet = pytest.mark.filterwarnings("ignore")  # MLflow's own, and those of what it brings


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("VPS_MLFLOW", uri)
    yield uri


def evaluated(home: Home, fails: bool = False) -> dg.ExecuteInProcessResult:
    """A Dagster run of an asset that tells MLflow of its report, as the reports do."""
    home.artefacts.models.make("model", lambda: Contents({CURVES: {"price": CURVE}}))

    paths = [home.artefacts.model_path("model"), None]
    models = pl.DataFrame({"model_id": ["m1", "m2"], "path": paths, "trained_on": [120, 120]})

    @dg.asset
    def some_reports(context: dg.AssetExecutionContext, mlflow: dg.ResourceParam[Any]) -> None:
        log_reports(mlflow, context, ROWS, models, home.artefacts, "demo")
        if fails:
            raise dg.Failure("after it was told")

    @dg.asset(deps=[some_reports])
    def other_reports(context: dg.AssetExecutionContext, mlflow: dg.ResourceParam[Any]) -> None:
        log_reports(mlflow, context, ROWS.head(1), models, home.artefacts, "demo")

    resources = {"mlflow": tracking(tracked_by_mlflow())}
    return dg.materialize([some_reports, other_reports], resources=resources, raise_on_error=False)


def logged(uri: str) -> tuple[Any, dict[str, Any], Any]:
    """(the Dagster run's run, those of its models by name, the client)."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "vps"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    models = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {run.info.run_name: run for run in models}, client


@needs_mlflow
@quiet
def test_each_model_that_is_reported_is_one_run_beneath_the_dagster_runs(home: Home, server: str) -> None:
    done = evaluated(home)
    parent, models, client = logged(server)
    assert parent.data.tags["dagster_run_id"] == done.run_id and parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("evaluation of 20") and parent.data.tags["recipe"] == "demo"
    names = ["blended, MSTFE, δ = 0.7, by group, seed 0", "category_median, MSTFE, at 1.0, by group, seed 0"]
    assert sorted(models) == names
    run, median = (models[name] for name in names)
    assert run.info.status == "FINISHED"
    assert run.data.tags.keys() >= {"some_reports", "other_reports"} and "other_reports" not in median.data.tags
    assert [of.data.tags["baseline"] for of in (run, median)] == ["no", "yes"]
    assert run.data.tags["inputs"] == "photo"
    assert run.data.params["constraint_value"] == "0.7" and run.data.params["seed"] == "0"
    assert run.data.params["trained_on"] == "120" and run.data.params["warm_up"] == "True"
    assert not median.data.params.keys() & {"features", "warm_up"}
    assert run.data.metrics["male"] == 0.25  # of all test listings, not of a category's
    assert (run.data.metrics["male_low"], run.data.metrics["male_high"]) == (0.2, 0.3)
    assert not run.data.metrics.keys() & {"aurc", "aurc_low"}
    training = client.get_metric_history(run.info.run_id, "price/training loss")
    assert [(point.step, point.value) for point in training] == [(1, 0.9), (4, 0.5)]


@needs_mlflow
@quiet
def test_the_models_in_force_are_tagged_in_every_evaluation_and_those_before_no_more(home: Home, server: str) -> None:
    from mlflow import MlflowClient

    @dg.op
    def tag(context: dg.OpExecutionContext, mlflow: dg.ResourceParam[Any]) -> None:
        model_id, of_home = in_force.pop()
        tag_champions(mlflow, context.log, of_home, pl.DataFrame({"model_id": [model_id], "inputs": "photo"}))

    @dg.job(resource_defs={"mlflow": tracking(tracked_by_mlflow())})
    def tags() -> None:
        tag()

    ours = str(home.path)
    in_force = [("m9", "another directory's"), ("m1", ours), ("m2", ours)]
    while in_force:
        assert evaluated(home).success
        assert tags.execute_in_process().success

    client = MlflowClient(server)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.champion = 'photo'")
    assert {run.data.tags["model_id"] for run in runs} == {"m1"}
    assert len(runs) == 2, "of the two evaluations before it was decided"


@needs_mlflow
@quiet
def test_the_run_of_an_evaluation_that_fails_has_failed_in_mlflow_too(home: Home, server: str) -> None:
    assert not evaluated(home, fails=True).success
    parent, models, _ = logged(server)
    assert parent.info.status == "FAILED" and len(models) == 2


@needs_mlflow
@quiet
@pytest.mark.parametrize("wrong", WRONG)
def test_an_evaluation_goes_on_where_mlflow_does_not_answer(
    home: Home, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("VPS_MLFLOW", wrong)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert evaluated(home).success


def test_nothing_is_told_by_default(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPS_MLFLOW", raising=False)
    assert not tracked_by_mlflow() and evaluated(home).success


@pytest.mark.parametrize(
    "server",
    [
        "http://me:secret@mlflow:5000",
        "http://me:se/secret@mlflow",
        "http://secret@mlflow",
        "http://mlflow/?key=secret",
        "postgresql://me:secret@pg/mlflow",
        "postgresql://pg/mlflow?password=secret",
    ],
)
def test_a_server_with_a_password_in_its_address_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv("VPS_MLFLOW", server)
    with pytest.raises(WrongSetting) as refused:
        tracked_by_mlflow()
    assert "secret" not in str(refused.value)


@pytest.mark.skipif(bool(find_spec("dagster_mlflow")), reason="MLflow is installed")
def test_mlflow_that_is_asked_for_and_not_installed_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_MLFLOW", "sqlite:///mlflow.db")
    with pytest.raises(WrongSetting, match=r"pip install '.\[mlflow\]'"):
        tracked_by_mlflow()
