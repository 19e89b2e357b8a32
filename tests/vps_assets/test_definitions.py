"""The code location as Dagster sees it."""

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from scenario import listing, listings_file, quiet

from vps_assets import definitions
from vps_assets.assets import checks, drift_checks
from vps_assets.errors import WrongSetting
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.landings import ForeignFile
from vps_assets.lineage.graph import LAYERS, LINEAGE
from vps_assets.tables.schemas import TABLES


@cache
def location() -> dg.Definitions:
    return definitions.defs()


def graph() -> Any:
    return location().resolve_asset_graph()


def test_definitions_load_without_torch() -> None:
    code = (
        "import sys; from vps_assets.definitions import defs; defs().get_repository_def();"
        "print([m for m in ('torch', 'torchvision', 'lightgbm', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_lineage_as_data_is_dagsters_asset_graph() -> None:
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph().get(key).parent_keys}
        for key in graph().materializable_asset_keys
    }
    assert parents == {asset: set(node.parents) for asset, node in LINEAGE.items()}


@pytest.mark.parametrize("asset", LINEAGE)
def test_every_asset_has_a_schema_an_owner_a_group_kinds_and_a_description(asset: str) -> None:
    spec = graph().get(dg.AssetKey(asset))
    assert asset in TABLES
    assert spec.owners
    assert spec.group_name != "default"
    assert spec.kinds
    assert len(spec.description or "") > 20
    assert spec.metadata["dagster/column_schema"].columns


def test_every_sensor_schedule_and_job_says_what_it_does() -> None:
    repository = location().get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"]
    named = [*repository.sensor_defs, *repository.schedule_defs, *jobs]
    assert len(named) == 6 + 1 + 3 + len(LAYERS)
    assert [one.name for one in named if not one.description] == []
    assert "champion_model" in repository.get_job("evaluation_and_champion_job").description


def test_the_service_stands_in_the_graph_behind_what_it_answers_from() -> None:
    service = graph().get(dg.AssetKey("suggestion_service"))
    assert not service.is_materializable
    assert {key.to_user_string() for key in service.parent_keys} >= {
        "champion_model",
        "comparable_items",
        "sale_chances",
    }


@pytest.mark.parametrize("asset", [a for a, node in LINEAGE.items() if node.partitions != "none"])
def test_a_backfill_of_many_partitions_is_one_run(asset: str) -> None:
    assert graph().get(dg.AssetKey(asset)).backfill_policy == dg.BackfillPolicy.single_run()


def test_daily_assets_share_their_partitions() -> None:
    daily = [a for a, node in LINEAGE.items() if node.partitions == "day"]
    assert len({str(graph().get(dg.AssetKey(a)).partitions_def) for a in daily}) == 1


def test_ops_that_use_the_accelerator_are_tagged_and_pooled() -> None:
    found = {}
    for asset in location().assets:
        nodes = getattr(getattr(asset, "node_def", None), "node_dict", {})
        found |= {name: (node.definition.tags.get("vps/device"), node.definition.pool) for name, node in nodes.items()}
    gpu = {name for name, tags in found.items() if tags == ("gpu", "gpu")}
    assert gpu == {
        "train_task_backbones", "embed_photos", "train_pricing_models",
        "predict_test_rows", "predict_out_of_bounds", "judge_corrupted_photos", "replay_ranges",
        "suggest_prices", "compare_with_champion", "read_words", "measure_advice",
        "keep_sold_items", "find_comparables", "measure_comparables", "fit_sale_chances", "measure_sales",
    }  # fmt: skip
    writers = {name for name, tags in found.items() if tags[1] == "duckdb_writer"}
    assert {name for name in found if name.startswith("record_")} == writers


def test_every_table_has_a_blocking_schema_check() -> None:
    checks = {(k.asset_key.to_user_string(), k.name) for k in graph().asset_check_keys}
    assert {(asset, "schema") for asset in LINEAGE} <= checks
    assert ("quarantined_listings", "landed_is_clean_plus_quarantined") in checks
    assert ("seller_statistics", "sees_no_sale_of_its_day_or_later") in checks
    assert ("clean_listings", "splits_are_disjoint") in checks


IMPORT = "import vps_assets.definitions, vps_assets.cli, vps_assets.orchestration.sensors"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A data directory with a landing that is none."""
    (tmp_path / "damaged" / "landing").mkdir(parents=True)
    (tmp_path / "damaged" / "landing" / "1.parquet").write_bytes(b"no parquet")
    return tmp_path / "damaged"


def test_importing_reads_neither_environment_nor_landings(damaged: Path) -> None:
    wrong = {"VPS_FIRST_DATE": "yesterday", "VPS_HOME": str(damaged), "VPS_RECIPE": "none"}
    subprocess.run([sys.executable, "-c", IMPORT], env={**os.environ, **wrong}, check=True)


def test_what_is_wrong_is_said_when_dagster_loads_the_definitions(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPS_FIRST_DATE", "yesterday")
    with pytest.raises(WrongSetting, match="VPS_FIRST_DATE: 'yesterday' is not a date"):
        definitions.defs()
    monkeypatch.setenv("VPS_HOME", str(damaged))
    with pytest.raises(ForeignFile, match=r"1\.parquet is damaged"):
        definitions.defs()


def test_listing_dates_begin_with_the_first_landed_of_the_directory_that_is_set_when_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, day in (("one", 3), ("other", 9)):
        home = Home(tmp_path / name)
        land([listings_file(tmp_path / f"of {name}", [listing(day - 1)])], None, home, quiet)
        monkeypatch.setenv("VPS_HOME", str(home.path))
        partitions = definitions.defs().resolve_asset_graph().get(dg.AssetKey("raw_listings")).partitions_def
        assert partitions.get_first_partition_key() == f"2024-01-{day:02}"


def test_every_check_of_the_two_modules_is_collected() -> None:
    written = {key for module in (checks, drift_checks) for key in keys_of(vars(module).values())}
    collected = keys_of([*checks.all_checks(), *drift_checks.all_warnings()])
    assert written <= collected
    assert len(written) > 4


def keys_of(found: Iterable[object]) -> set[dg.AssetCheckKey]:
    return {key for check in found if isinstance(check, dg.AssetChecksDefinition) for key in check.check_keys}


def test_a_check_of_no_asset_which_would_never_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dg.asset_check(asset="price_sugestions")
    def misspelt() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    monkeypatch.setattr(checks, "all_checks", lambda: [misspelt])
    with pytest.raises(ValueError, match="checks of no asset, which would never run: misspelt"):
        definitions.defs()
