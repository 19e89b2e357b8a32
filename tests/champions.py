"""Comparisons and decisions about champions, and the files of models."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl

from vps_assets.assets.champion import rollback_job
from vps_assets.home import Home
from vps_assets.tables.models import CHAMPION_MODEL
from vps_assets.tables.schemas import conforming
from vps_assets.warehouse.settings import Settings
from vps_ml.cards import Contents
from vps_ml.evaluation.comparison import Comparison

NOW = datetime(2024, 6, 1, tzinfo=UTC)
BETTER = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.35, -0.08, -0.02, 1, -0.03)
BY_CHANCE = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.35, -0.12, 0.02, 1, 0.01)
BY_LITTLE = Comparison(500, "2024-05-20", "2024-05-31", 0.7, 0.40, 0.398, -0.003, -0.001, 1, -0.001)
OF_FEW = Comparison(20, "", "", 0.7, 0.40, 0.20, -0.3, -0.1, 1, -0.1)


def decision(
    model_id: str, challenger_id: str, what: str, instead_of: str | None, hour: int, inputs: str = "photo"
) -> pl.DataFrame:
    """The row of `champion_model` after a decision."""
    row = {
        "inputs": inputs, "model_id": model_id, "served_as": None,
        "path": f"models/{model_id}", "challenger_id": challenger_id,
        "instead_of": instead_of,
        "decision": what, "evidence": "", "tested": None, "decided_at": NOW + timedelta(hours=hour),
    }  # fmt: skip
    return conforming(pl.DataFrame([row]), CHAMPION_MODEL)


def with_models(home: Home) -> Home:
    """A home with the files of models a, b and c, and of what they were trained with."""
    artefacts = home.artefacts
    needs = {"feature_map_id": "map", "roles_id": "roles", "embedding_id": "e"}
    for name in ("map", "roles", "backbone"):
        artefacts.models.make(name, lambda name=name: Contents({"kind": name}))
    artefacts.embeddings.make("e", lambda: Contents({"backbones": {"category": "models/backbone"}}))
    for model_id in "abc":
        artefacts.models.make(model_id, lambda: Contents({"kind": "pricing_model", **needs}))
    return home


def settings_of(home: Home) -> Settings:
    """The resource of this home."""
    return Settings(data_directory=str(home.path), recipe_name="demo")


def rolled_back(home: Home, to: str) -> dg.ExecuteInProcessResult:
    """The run of `rollback_job`, as the UI starts it."""
    config = {"ops": {"record_rollback": {"config": {"to": to}}}}
    resources = {"settings": settings_of(home), "mlflow": None}
    return rollback_job.execute_in_process(config, resources=resources, raise_on_error=False)
