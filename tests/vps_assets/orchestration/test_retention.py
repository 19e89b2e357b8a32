"""What is deleted after a while, and what stays."""

import os
import time
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration.retention import (
    days_from_environment,
    forget_old_runs,
    forget_unused_artefacts,
    newest_champions,
)
from vps_assets.tables.partitions import PARTITIONINGS
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.named_files import MODEL_TABLES
from vps_assets.warehouse.unchecked import Checks, Passed
from vps_ml.backbones.files import save_embeddings
from vps_ml.cards import Contents


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a"]))
def numbers() -> None: ...


def aged(path: Path, days: float) -> None:
    for one in (path, *path.rglob("*")):
        os.utime(one, (time.time() - days * 86400,) * 2)


def test_old_runs_go_with_their_files_and_what_the_ui_shows_of_assets_stays(home: Home) -> None:
    with open_instance(home) as instance:
        runs = [dg.materialize([numbers], partition_key="a", instance=instance).dagster_run for _ in range(2)]
        unfinished = instance.create_run_for_job(dg.JobDefinition(graph_def=dg.GraphDefinition("j"), name="j"))
        assert forget_old_runs(instance, 1.0) == 0
        assert forget_old_runs(instance, 1e-9) == 2
        assert [run.run_id for run in instance.get_runs()] == [unfinished.run_id]
        assert not [path for run in runs for path in home.dagster.rglob(f"*{run.run_id}*")]
        key = dg.AssetKey("numbers")
        assert instance.get_materialized_partitions(key) == {"a"}
        assert instance.get_latest_materialization_event(key) is not None
        assert instance.get_run_by_id(runs[0].run_id) is None


def test_models_without_a_use_go_once_they_are_old_and_what_is_needed_stays(home: Home) -> None:
    models, embeddings, warehouse = home.artefacts.models, home.artefacts.embeddings, Warehouse(home)

    def model(name: str, **card: str) -> str:
        return models.make(name, lambda: Contents({"kind": "pricing_model", **card}))

    for name in ("backbone", "old_backbone", "map", "roles", "old_map", "young"):
        model(name)
    for name, backbone in (("set", "backbone"), ("old_set", "old_backbone")):
        embeddings.make(name, lambda backbone=backbone: Contents({"backbones": {"price": f"models/{backbone}"}}))
        for day in ("1", "2"):
            save_embeddings(
                embeddings.folder / name / f"{day}.safetensors", {"a": np.ones((1, 1), np.float16)}, np.ones((1, 4))
            )
    embeddings.make("words", lambda: Contents({"encoder_id": "encoder"}))
    model("encoder")
    for day in ("1", "2"):
        save_embeddings(embeddings.folder / "words" / f"{day}.safetensors", {}, np.ones((1, 4)))
    model("of words", feature_map_id="map", text_id="words")
    model("served", feature_map_id="map", roles_id="roles", embedding_id="set")
    model("champion before", feature_map_id="old_map", roles_id="roles", embedding_id="old_set")
    model("useless", feature_map_id="old_map")
    table = {"constraint_value": ["0.7"], "path": ["models/served"]}
    warehouse.replace("percentile_pricing_models", pl.DataFrame(table), "true", [], {})
    dates = {"embedding_id": ["set"], "listed_on": ["2024-01-02"], "path": ["embeddings/set/1.safetensors"]}
    warehouse.replace("image_embeddings", pl.DataFrame(dates), "true", [], {})
    words = dates | {"path": ["embeddings/words/1.safetensors"]}
    warehouse.replace("text_embeddings", pl.DataFrame(words), "true", [], {})
    others = {*MODEL_TABLES} - {"percentile_pricing_models"}
    for asset in others:
        column = PARTITIONINGS[LINEAGE[asset].partitions].column or "model_id"
        name = "of words" if asset == "words_pricing_models" else "served"
        warehouse.replace(asset, pl.DataFrame({column: [name], "path": [f"models/{name}"]}), "true", [], {})
    model("refit", feature_map_id="map", roles_id="roles", embedding_id="set", blend_id="blend")
    model("blend")
    for name in ("items", "items before"):
        models.make(name, lambda: Contents({"kind": "sold_items"}))
    shown = {"inputs": ["photo"], "path": ["models/items"]}
    warehouse.replace("comparable_items", pl.DataFrame(shown), "true", [], {})
    history = {"model_id": ["champion before", "useless"], "decision": ["promoted", "refused"],
               "served_as": ["refit", None], "decided_at": [1, 2]}  # fmt: skip
    warehouse.replace("champion_history", pl.DataFrame(history), "true", [], {})
    for store in (models, embeddings):
        for path in store.folder.iterdir():
            aged(path, 0.5 if path.name == "young" else 4 if path.name.startswith("items") else 31)
    assert forget_unused_artefacts(home, 30.0) == 6  # sold items go sooner: they are made anew with each sale
    assert set(models.ids()) == {
        "backbone",
        "old_backbone",
        "map",
        "roles",
        "old_map",
        "young",
        "served",
        "champion before",
        "refit",
        "blend",
        "of words",
        "encoder",
        "items",
    }
    assert sorted(str(path.relative_to(embeddings.folder)) for path in embeddings.folder.rglob("*.safetensors")) == [
        "set/1.safetensors",
        "words/1.safetensors",
    ]
    assert set(embeddings.ids()) == {"set", "old_set", "words"}

    assert forget_unused_artefacts(home, 1e-9) == 1  # the young one
    models.make("unused", lambda: Contents({}))
    waits = Checks("r", ("schema",))
    warehouse.replace("price_suggestions", pl.DataFrame({"a": [1]}), "true", [], {"d": Fingerprint("x")}, waits)
    assert forget_unused_artefacts(home, 1e-9) == 0  # not sure of what they name
    warehouse.note_passed([Passed("price_suggestions", "schema", "r", 0.0)])
    nothing = pl.DataFrame({"model_id": ["x"], "path": [None]})
    warehouse.replace("champion_model", nothing, "true", [], {})
    assert forget_unused_artefacts(home, 1e-9) == 0  # as after a loss
    assert "unused" in models


def test_the_champions_that_stay_are_those_last_in_force(home: Home) -> None:
    rows = {"model_id": [*"abcdefa"], "decision": ["promoted"] * 6 + ["rolled back"], "decided_at": [*range(7)]}
    Warehouse(home).replace("champion_history", pl.DataFrame(rows), "true", [], {})
    assert newest_champions(Warehouse(home)) == set("afedc")


def test_nothing_is_deleted_where_no_table_says_what_is_used(home: Home) -> None:
    home.artefacts.models.make("a", lambda: Contents({}))
    aged(home.artefacts.models.folder / "a", 99)
    assert forget_unused_artefacts(home, 30.0) == 0
    assert home.artefacts.models.ids() == ["a"]


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VPS_KEEP_DAYS", text)
    with pytest.raises(WrongSetting, match="VPS_KEEP_DAYS"):
        days_from_environment()
