"""The whole lineage, run once through the command line, seen from every user's side."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import REPOSITORY, Marketplace, vps
from scenario import listing, listings_file

from vps_assets.home import Home
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import free_dead_runs, open_instance
from vps_assets.tables.schemas import TABLES, faults


def query(marketplace: Marketplace, sql: str) -> list[tuple]:
    with duckdb.connect(str(marketplace.home.analytics), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def frame(marketplace: Marketplace, table: str) -> pl.DataFrame:
    with duckdb.connect(str(marketplace.home.analytics), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return pl.DataFrame(connection.execute(f'from "{table}"').to_arrow_table())


def test_the_demo_prints_the_papers_tables_and_what_to_open_next(marketplace: Marketplace) -> None:
    for words in ("Table 2", "Table 3", "Table 4", "Table 5", "boosted trees", "vps report", "make ui"):
        assert words in marketplace.output


def test_progress_is_shown_all_along(marketplace: Marketplace) -> None:
    for words in ("photos drawn", "photos verified", "epoch 8 of 8", "photos embedded", "trained", "open listings"):
        assert words in marketplace.progress


@pytest.mark.parametrize("table", LINEAGE)
def test_every_published_table_holds_to_its_schema_and_has_rows(marketplace: Marketplace, table: str) -> None:
    rows = frame(marketplace, table).select(list(TABLES[table].columns))
    assert rows.height > 0
    assert faults(rows, TABLES[table]) is None


def test_landed_is_clean_plus_quarantined(marketplace: Marketplace) -> None:
    tables = ("raw_listings", "clean_listings", "quarantined_listings")
    landed, clean, out = (query(marketplace, f"select count(*) from {table}")[0][0] for table in tables)
    assert landed == clean + out == 700
    assert out > 24


def test_a_row_with_two_faults_shows_two_reasons(marketplace: Marketplace) -> None:
    found = query(
        marketplace, "select reasons from quarantined_listings where list_contains(reasons, 'category is missing')"
    )
    assert found
    assert all({"category is missing", "price is not positive"} <= set(reasons) for (reasons,) in found)


def test_the_spoilt_rows_of_the_truth_are_quarantined(marketplace: Marketplace) -> None:
    truth = pl.read_parquet(marketplace.home.path / "demo" / "truth.parquet")
    out = set(frame(marketplace, "quarantined_listings")["listing_id"])
    assert set(truth.filter("spoilt")["listing_id"]) <= out


def test_the_models_are_of_both_objectives_and_both_splits(marketplace: Marketplace) -> None:
    found = set(
        query(marketplace, "select objective, split_kind from evaluation_reports where constraint_kind = 'percentile'")
    )
    assert found == {("paper", "group"), ("cross_fitted", "group"), ("cross_fitted", "time")}


def test_a_reports_male_is_that_of_its_predictions(marketplace: Marketplace) -> None:
    differ = query(
        marketplace,
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

    clean = frame(marketplace, "clean_listings")
    trained_on = set(training_photos(clean)["photo_hash"])
    tested = set(frame(marketplace, "evaluation_predictions")["listing_id"])
    assert not trained_on & set(clean.filter(pl.col("listing_id").is_in(tested))["photo_hash"])


def test_open_listings_get_a_price_or_a_reason(marketplace: Marketplace) -> None:
    suggestions = frame(marketplace, "price_suggestions")
    assert suggestions.height == frame(marketplace, "clean_listings")["sold_on"].null_count()
    priced, refused = suggestions.filter("qualified"), suggestions.filter(~pl.col("qualified"))
    assert (priced["low"] <= priced["suggested_price"]).all()
    assert (priced["suggested_price"] <= priced["high"]).all()
    assert priced["reason"].null_count() == priced.height
    assert refused["suggested_price"].null_count() == refused.height
    assert set(refused["reason"]) <= {"blurred", "dark", "overexposed", "too_little_information"}


def test_a_second_run_has_nothing_to_do(marketplace: Marketplace) -> None:
    ran = vps("run", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Nothing had to be done")


def test_what_the_command_line_ran_is_in_the_dagster_instance_with_its_logs(marketplace: Marketplace) -> None:
    with open_instance(marketplace.home) as instance:
        runs = instance.get_runs()
        assert {run.status.value for run in runs} == {"SUCCESS"}
        logs = [log.user_message for run in runs for log in instance.all_logs(run.run_id)]
    assert any("epoch 8 of 8" in message for message in logs)


def test_one_date_can_be_made_again_by_name(marketplace: Marketplace) -> None:
    before = frame(marketplace, "clean_listings").height
    ran = vps(
        "run", "--select", "clean_listings", "--from", "2024-05-03", "--to", "2024-05-03", home=marketplace.home.path
    )
    assert ran.returncode == 0, ran.stderr
    assert "clean_listings, 2024-05-03 to 2024-05-03" in ran.stderr
    assert frame(marketplace, "clean_listings").height == before


def test_suggest_prices_one_photo(marketplace: Marketplace) -> None:
    photo = next((marketplace.home.path / "demo" / "images").glob("*.jpg"))
    ran = vps("suggest", str(photo), "--category", "phone", "--seller", "S001", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    expected = {"qualified", "suggested_price", "low", "high", "currency", "qualification", "reason", "model_id"}
    assert expected <= set(told)
    assert told["currency"] == "EUR"
    assert (told["suggested_price"] is None) == (not told["qualified"]) == ("advice" in told)


def test_suggest_agrees_with_the_table_of_suggestions(marketplace: Marketplace) -> None:
    """Both judge the photo of an open listing of the newest day; only the statistics have moved on by that day."""
    rows = query(
        marketplace,
        "select image_path, category, seller_id, s.qualified, s.qualification, s.suggested_price "
        "from price_suggestions s join clean_listings using (listing_id) where seller_id is not null "
        "order by s.listed_on desc, abs(s.qualification - 0.5) desc, listing_id limit 3",
    )
    for image, category, seller, qualified, qualification, price in rows:
        photo = str(marketplace.home.path / "demo" / image)
        ran = vps("suggest", photo, "--category", category, "--seller", seller, home=marketplace.home.path)
        told = json.loads(ran.stdout)
        assert told["qualified"] == qualified
        assert told["qualification"] == pytest.approx(qualification, abs=0.1)
        assert price is None or told["suggested_price"] == pytest.approx(price, rel=0.3)


def test_a_photo_that_is_none_is_the_users_mistake(marketplace: Marketplace, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>")
    ran = vps("suggest", str(tmp_path / "a.jpg"), "--category", "phone", home=marketplace.home.path)
    assert ran.returncode == 2
    assert len(ran.stderr.strip().splitlines()) == 1


def test_the_report_is_one_self_contained_page(marketplace: Marketplace) -> None:
    ran = vps("report", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    page = Path(ran.stdout.strip()).read_text()
    for words in ("Table 1", "Table 5", "Figure 3", "Figure 6", "Figure 9", "The data are not the paper"):
        assert words in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert page.count("data:image/jpeg") > 20


def test_the_report_says_what_holds_and_what_only_the_demo_can_tell(marketplace: Marketplace) -> None:
    page = Path(vps("report", home=marketplace.home.path).stdout.strip()).read_text()
    for words in ("MSTFE beats STFE by AURC", "oracle", "Calibration of the 80% price range", "AUROC within category"):
        assert words in page


def test_a_reports_range_coverage_is_that_of_its_predictions(marketplace: Marketplace) -> None:
    differ = query(
        marketplace,
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
    found = query(
        marketplace,
        """
        select split_kind, count(distinct listings) from (
            select split_kind, model_id, list(listing_id order by listing_id) as listings
            from evaluation_predictions join evaluation_reports using (model_id) where segment = 'all' group by all
        ) group by 1
        """,
    )
    assert sorted(found) == [("group", 1), ("time", 1)]


def test_a_models_card_says_what_it_was_made_of(marketplace: Marketplace) -> None:
    for (path,) in query(marketplace, "select path from percentile_pricing_models"):
        about = json.loads((marketplace.home.path / path / "card.json").read_text())
        assert {"first_listed_on", "last_listed_on", "recipe", "seed", "code_version", "model_id"} <= about.keys()
        assert about["recipe"]["name"] == "demo"


def test_no_checkpoint_is_left_of_a_training_that_ended(marketplace: Marketplace) -> None:
    assert list((marketplace.home.path / "models").glob(".*")) == []


def test_more_seeds_are_trained_on_request_and_told_with_their_standard_error(marketplace: Marketplace) -> None:
    ran = vps("run", "--select", "ablation_reports", "--seeds", "2", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    found = query(marketplace, "select distinct features, warm_up, seed from ablation_reports order by all")
    expected = [("MSTFE", False), ("MSTFE", True), ("STFE", True)]
    assert found == [(*variant, seed) for variant in expected for seed in (0, 1)]
    page = Path(vps("report", home=marketplace.home.path).stdout.strip()).read_text()
    assert re.search(r"MSTFE beats STFE by AURC</td><td>less by -?[\d.]+ ± [\d.]+, 2 seeds", page)


@pytest.mark.slow
def test_the_ablation_table_is_the_same_when_all_of_it_is_trained_again(
    marketplace: Marketplace, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(marketplace.home.path, again)
    backbones = {path for (path,) in query(marketplace, "select path from task_backbones where path is not null")}
    for folder in (again / "models").iterdir():
        if f"models/{folder.name}" not in backbones:
            shutil.rmtree(folder)
    ran = vps("run", "--select", "ablation_reports+", home=again)
    assert ran.returncode == 0, ran.stderr
    sql = "select * exclude (run_id, evaluated_at) from ablation_reports where seed = 0 order by all"
    assert query(Marketplace(Home(again), "", ""), sql) == query(marketplace, sql)


def sql_of_the_readme() -> list[str]:
    text = (REPOSITORY / "README.md").read_text()
    return re.findall(r"```sql\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("sql", sql_of_the_readme())
def test_the_queries_of_the_readme_work_as_typed(marketplace: Marketplace, sql: str) -> None:
    for statement in filter(str.strip, sql.split(";")):
        assert query(marketplace, statement)


def test_a_run_that_was_killed_is_failed_and_its_slots_are_freed(marketplace: Marketplace) -> None:
    """A run holds the writer's slot and dies by SIGKILL; the next `vps run` frees it before it starts."""
    code = """
import os, signal
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.orchestration import run as runs
from vps_assets.warehouse.database import Warehouse
Warehouse.replace = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
home = Home.from_environment()
with open_instance(home) as instance:
    runs.execute(home, instance, runs.Plan(("champion_history",), None, None), {})
"""
    import os

    env = os.environ | {"VPS_HOME": str(marketplace.home.path)}
    killed = subprocess.run([sys.executable, "-c", code], env=env, cwd=REPOSITORY, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    with open_instance(marketplace.home) as instance:
        info = instance.event_log_storage.get_concurrency_info("duckdb_writer")
        assert info.active_slot_count == 1
        assert len(free_dead_runs(instance)) == 1
        assert instance.event_log_storage.get_concurrency_info("duckdb_writer").active_slot_count == 0
    assert vps("run", "--select", "champion_history", home=marketplace.home.path).returncode == 0


def fingerprints(marketplace: Marketplace) -> dict[tuple[str, str], str]:
    found = query(marketplace, "select asset, partition, fingerprint from lineage.made")
    return {(asset, partition): value for asset, partition, value in found}


def test_a_new_day_changes_its_own_partitions_alone(marketplace: Marketplace, tmp_path: Path) -> None:
    """It and what follows land more: they are the last of this file."""
    from datetime import UTC, datetime

    rows = [
        listing(
            i, listed_at=datetime(2024, 6, 2, tzinfo=UTC), sold_at=datetime(2024, 6, 3, tzinfo=UTC), category="phone"
        )
        for i in range(3)
    ]
    before = fingerprints(marketplace)
    landed = vps("land", str(listings_file(tmp_path, rows)), home=marketplace.home.path)
    assert landed.returncode == 0, landed.stderr
    ran = vps("run", "--select", "raw_listings,clean_listings", "--from", "2024-06-01", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert query(marketplace, "select count(*) from clean_listings where listed_on = '2024-06-02'") == [(3,)]
    assert query(marketplace, "select count(*) from raw_listings") == [(703,)]
    after = fingerprints(marketplace)
    assert {key for key in after if before.get(key) != after[key]} == {
        ("raw_listings", "2024-06-02"),
        ("clean_listings", "2024-06-02"),
    }


def test_models_judge_new_rows_by_what_they_were_trained_with(marketplace: Marketplace) -> None:
    """After the new day has landed: evaluation without training again gives the old rows their old predictions."""
    # the category's median is no trained model: it is that of the training rows as they are
    sql = (
        "select model_id || listing_id, predicted_log_price from evaluation_predictions "
        "where not starts_with(model_id, 'category_median')"
    )
    before = dict(query(marketplace, sql))
    chosen = "image_embeddings,evaluation_predictions"
    ran = vps("run", "--select", chosen, "--from", "2024-06-01", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    after = dict(query(marketplace, sql))
    assert len(after) > len(before)
    # a single-precision network over other batches: equal to its rounding
    assert {key: after[key] for key in before} == pytest.approx(before, abs=1e-4)


def test_a_run_after_a_new_day_prices_it_with_the_models_in_force(marketplace: Marketplace) -> None:
    """Nothing is trained; what depends on the day is made, and then nothing has to be done."""
    models = (
        "select model_id from percentile_pricing_models union all select backbone_id from task_backbones order by 1"
    )
    champion = "select model_id, path from champion_model"
    before = query(marketplace, models), query(marketplace, champion)
    ran = vps("run", home=marketplace.home.path)
    assert ran.returncode == 0, ran.stderr
    assert "epoch" not in ran.stderr and "trained" not in ran.stderr
    assert (query(marketplace, models), query(marketplace, champion)) == before
    assert "price_suggestions, 2024-06-02 to 2024-06-02" in ran.stderr
    assert vps("run", home=marketplace.home.path).stdout.startswith("Nothing had to be done")
