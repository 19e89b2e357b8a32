import subprocess
import sys
from datetime import date
from typing import Any

import dagster as dg
import polars as pl
import pytest
from scenario import listing, listings_file

from vps_assets import definitions
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.lineage.graph import LINEAGE
from vps_assets.tables.partitions import first_listing_date
from vps_assets.tables.schemas import TABLES, column_schema, conforming, types


def graph() -> Any:
    return definitions.defs.resolve_asset_graph()


def test_definitions_load_without_torch() -> None:
    code = (
        "import sys; from vps_assets.definitions import defs; defs.get_repository_def();"
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


@pytest.mark.parametrize("asset", [a for a, node in LINEAGE.items() if node.partitions != "none"])
def test_a_backfill_of_many_partitions_is_one_run(asset: str) -> None:
    assert graph().get(dg.AssetKey(asset)).backfill_policy == dg.BackfillPolicy.single_run()


def test_daily_assets_share_their_partitions() -> None:
    daily = [a for a, node in LINEAGE.items() if node.partitions == "day"]
    assert len({str(graph().get(dg.AssetKey(a)).partitions_def) for a in daily}) == 1


def test_ops_that_use_the_accelerator_are_tagged_and_pooled() -> None:
    found = {}
    for asset in definitions.defs.assets:
        nodes = getattr(asset.node_def, "node_dict", {})
        found |= {name: (node.definition.tags.get("vps/device"), node.definition.pool) for name, node in nodes.items()}
    gpu = {name for name, told in found.items() if told == ("gpu", "gpu")}
    assert gpu == {
        "train_task_backbones", "embed_photos", "train_pricing_models", "train_baseline_models",
        "predict_test_rows", "train_and_predict_ablations", "judge_corrupted_photos",
        "suggest_prices", "compare_with_champion",
    }  # fmt: skip
    writers = {name for name, told in found.items() if told[1] == "duckdb_writer"}
    assert {name for name in found if name.startswith("record_")} == writers


def test_every_table_has_a_blocking_schema_check() -> None:
    checks = {(k.asset_key.to_user_string(), k.name) for k in graph().asset_check_keys}
    assert {(asset, "schema") for asset in LINEAGE} <= checks
    assert ("quarantined_listings", "landed_is_clean_plus_quarantined") in checks
    assert ("seller_statistics", "sees_no_sale_of_its_day_or_later") in checks
    assert ("clean_listings", "splits_are_disjoint") in checks


def test_the_first_partition_is_the_first_landed_day(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    land([listings_file(tmp_path_factory.mktemp("l"), [listing(2), listing(5)])], None, home, lambda message: None)
    assert first_listing_date(home) == date(2024, 1, 3)


def test_the_first_partition_can_be_given(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_FIRST_DATE", "2017-06-01")
    assert first_listing_date(home) == date(2017, 6, 1)


def test_a_given_first_date_never_cuts_off_what_has_landed(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    land([listings_file(tmp_path_factory.mktemp("l"), [listing(2)])], None, home, lambda message: None)
    monkeypatch.setenv("VPS_FIRST_DATE", "2025-01-01")
    assert first_listing_date(home) == date(2024, 1, 3)


@pytest.mark.parametrize("asset", TABLES)
def test_an_empty_table_conforms_to_its_schema(asset: str) -> None:
    frame = conforming(pl.DataFrame(), TABLES[asset])
    assert frame.schema == pl.Schema(types(TABLES[asset]))
    assert len(column_schema(TABLES[asset]).columns) == frame.width
