"""The whole lineage, run once through the command line: its tables and its report, as analysts see them."""

import json
import re
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from conftest import Marketplace, vps

from vps_assets.definitions import defs
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.tables.schemas import TABLES, faults
from vps_ml.recipes import demo


def test_the_demo_prints_the_papers_tables_and_what_to_open_next(marketplace: Marketplace) -> None:
    for words in ("Table 2", "Table 3", "Table 4", "Table 5", "boosted trees", "vps report", "make ui"):
        assert words in marketplace.output


@pytest.mark.parametrize("table", LINEAGE)
def test_every_published_table_holds_to_its_schema_and_has_rows(marketplace: Marketplace, table: str) -> None:
    rows = marketplace.frame(table).select(list(TABLES[table].columns))
    assert rows.height > 0 or table == "suggestion_changes", "no champion has been replaced yet"
    assert faults(rows, TABLES[table]) is None


def test_landed_is_clean_plus_quarantined(marketplace: Marketplace) -> None:
    tables = ("raw_listings", "clean_listings", "quarantined_listings")
    landed, clean, out = (marketplace.query(f"select count(*) from {table}")[0][0] for table in tables)
    assert landed == clean + out == 500
    assert out > 24


def test_a_row_with_two_faults_shows_two_reasons(marketplace: Marketplace) -> None:
    found = marketplace.query(
        "select reasons from quarantined_listings where list_contains(reasons, 'category is missing')"
    )
    assert found
    assert all({"category is missing", "price is not positive"} <= set(reasons) for (reasons,) in found)


def test_the_spoilt_rows_of_the_truth_are_quarantined(marketplace: Marketplace) -> None:
    truth = pl.read_parquet(marketplace.home.path / "demo" / "truth.parquet")
    out = set(marketplace.frame("quarantined_listings")["listing_id"])
    assert set(truth.filter("spoilt")["listing_id"]) <= out


def test_the_models_are_of_both_objectives_and_both_splits(marketplace: Marketplace) -> None:
    found = set(
        marketplace.query("select objective, split_kind from evaluation_reports where constraint_kind = 'percentile'")
    )
    ours = {(objective, split) for objective in ("cross_fitted", "blended") for split in ("group", "time")}
    assert found == {("paper", "group")} | ours


def test_a_reports_male_is_that_of_its_predictions(marketplace: Marketplace) -> None:
    differ = marketplace.query(
        """
        select count(*) from evaluation_reports r join (
            select model_id, avg(abs(predicted_log_price - log_price)) filter (qualified) as male,
                avg(qualified::int) as coverage
            from evaluation_predictions group by 1
        ) p using (model_id)
        where segment = 'all' and (abs(r.male - p.male) > 1e-9 or abs(r.coverage - p.coverage) > 1e-9)
        """,
    )
    assert differ == [(0,)]


def test_no_test_listing_is_a_training_listing_of_the_backbones(marketplace: Marketplace) -> None:
    from vps_assets.assets.backbones import training_photos

    clean = marketplace.frame("clean_listings")
    trained_on = set(training_photos(clean, demo())["photo_hash"])
    tested = set(marketplace.frame("evaluation_predictions")["listing_id"])
    assert not trained_on & set(clean.filter(pl.col("listing_id").is_in(tested))["photo_hash"])


def test_tables_4_and_5_are_of_the_papers_objective_alone(marketplace: Marketplace) -> None:
    found = marketplace.query("select distinct ablation, objective from ablation_reports order by all")
    assert found == [("features", "paper"), ("tuning", "blended"), ("warm_up", "paper")]


def test_the_report_is_one_self_contained_page(marketplace: Marketplace) -> None:
    ran = vps("report", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    page = Path(ran.stdout.strip()).read_text()
    for words in ("Table 1", "Table 5", "Figure 3", "Figure 6", "Figure 9", "The data are not the paper"):
        assert words in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("data:image/jpeg") > 20


def test_the_report_says_what_holds_and_what_only_the_demo_can_tell(marketplace: Marketplace) -> None:
    page = Path(vps("report", home=marketplace.home.path).stdout.strip()).read_text()
    for words in (
        "MSTFE beats STFE (paper, percentile), by AURC",
        "oracle",
        "The price range day by day",
        "less its rivals",
        "Calibration of the 80% price range",
        "AUROC within category",
    ):
        assert words in page


def test_a_reports_range_coverage_is_that_of_its_predictions(marketplace: Marketplace) -> None:
    differ = marketplace.query(
        """
        select count(*) from evaluation_reports r join (
            select model_id, avg((log_price between low_log_price and high_log_price)::int) as covered,
                avg(high_log_price - low_log_price) as width
            from evaluation_predictions where qualified group by 1
        ) p using (model_id)
        where segment = 'all' and (abs(r.range_coverage - p.covered) > 1e-9 or abs(r.range_width - p.width) > 1e-9)
        """,
    )
    assert differ == [(0,)]


def test_baselines_and_models_are_judged_on_the_same_listings(marketplace: Marketplace) -> None:
    found = marketplace.query(
        """
        select split_kind, count(distinct listings) from (
            select split_kind, model_id, list(listing_id order by listing_id) as listings
            from evaluation_predictions join evaluation_reports using (model_id) where segment = 'all' group by all
        ) group by 1
        """,
    )
    assert sorted(found) == [("group", 1), ("time", 1)]


def test_a_models_card_says_what_it_was_made_of(marketplace: Marketplace) -> None:
    for (path,) in marketplace.query("select path from percentile_pricing_models"):
        card = json.loads((marketplace.home.path / path / "card.json").read_text())
        assert {"first_listed_on", "last_listed_on", "recipe", "seed", "code_version", "model_id"} <= card.keys()
        assert card["recipe"]["name"] == "demo"


def shown(marketplace: Marketplace, asset: str, partition: str | None = None) -> dict[str, object]:
    """What the Dagster UI shows of an asset's newest materialization, or of a partition's: name -> value."""
    records = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=[partition] if partition is not None else None
    )
    with open_instance(marketplace.home) as instance:
        (record,) = instance.fetch_materializations(records, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


@pytest.mark.parametrize(
    ("asset", "figure", "counted"),
    [
        ("raw_listings", "bad", "count(*) filter (len(landing_reasons) > 0)"),
        ("clean_listings", "sold", "count(log_price)"),
        ("price_suggestions", "qualified", "count(*) filter (qualified)"),
        ("image_embeddings", "median brightness", "median(brightness)"),
        ("suggestion_history", "listings", "count(distinct listing_id)"),
    ],
)
def test_the_ui_shows_of_each_date_the_figures_of_that_date(
    marketplace: Marketplace, asset: str, figure: str, counted: str
) -> None:
    days = marketplace.query(f"select listed_on::text, count(*), {counted} from {asset} group by 1 order by random()")  # noqa: S608
    assert len(days) > 3
    for day, rows, expected in days[:3]:
        told = shown(marketplace, asset, day)
        assert told["dagster/partition_row_count"] == rows
        assert told[figure] == pytest.approx(expected)


def test_the_ui_plots_the_error_of_the_served_model_and_of_the_best_baseline_over_runs(
    marketplace: Marketplace,
) -> None:
    told = shown(marketplace, "evaluation_reports")
    assert sum(isinstance(value, float) for value in told.values()) >= 12
    for split in ("group", "time"):
        of_all = f"select male from evaluation_reports where segment = 'all' and split_kind = '{split}' and "
        served = "objective = 'blended' and constraint_kind = 'percentile' and constraint_value = 0.7"
        best = "constraint_kind = 'baseline' and constraint_value = 0.7 order by aurc limit 1"
        for name, where in (("served model", served), ("best baseline", best)):
            assert told[f"male ({name}, {split} split)"] == pytest.approx(marketplace.query(of_all + where)[0][0])


def test_the_catalogue_has_the_code_of_every_asset_the_columns_it_comes_from_and_a_card_of_each_champion(
    marketplace: Marketplace,
) -> None:
    graph = defs().resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        places = graph.get(key).metadata["dagster/code_references"].code_references
        assert all(Path(place.file_path).is_file() for place in places), key
    told = shown(marketplace, "clean_listings")
    (source,) = told["dagster/column_lineage"].deps_by_column["log_price"]
    assert (source.asset_key.to_user_string(), source.column_name) == ("raw_listings", "sold_price")
    cards = shown(marketplace, "champion_model")
    assert "| MALE |" in str(cards["The model that prices by the photo"])
