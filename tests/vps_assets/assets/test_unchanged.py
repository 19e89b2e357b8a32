"""Dates that are made again: listings that are as they were keep their price and what stands beside it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from champions import settings_of
from conftest import Marketplace
from polars.testing import assert_frame_equal

from vps_assets.assets.comparables import comparables_job
from vps_assets.assets.evaluation import prediction_job
from vps_assets.assets.features import OPEN, SOLD, with_features
from vps_assets.assets.ranges import range_job
from vps_assets.assets.suggestions import suggestion_job
from vps_assets.assets.unchanged import made_before
from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint, own_part
from vps_assets.orchestration.internals import written
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, conforming
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.unchecked import Checks
from vps_ml.features.tabular import GROUP_OF
from vps_ml.features.unchanged import MADE_FROM
from vps_ml.ops import comparables, suggestions
from vps_ml.ops.comparables import ComparablesJob, find_comparables
from vps_ml.ops.ranges import RangeJob, replay_ranges
from vps_ml.ops.suggestions import ChampionJob, suggest_prices
from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.predictor import Predictor
from vps_ml.pricing.sold_items import SoldItems

KINDS = ("percentile", "threshold", "baseline", "ablation", "words")


def rows_of(marketplace: Marketplace, which: str) -> pl.DataFrame:
    recipe = settings_of(marketplace.home).recipe
    statistics = {name: marketplace.frame(f"{name}_statistics") for name in GROUP_OF}
    tables = (marketplace.frame(name) for name in ("clean_listings", "image_embeddings", "text_embeddings"))
    return with_features(which, *tables, statistics, recipe)


def of_all_dates(marketplace: Marketplace) -> SimpleNamespace:
    """What the ops take of a run's context."""
    return SimpleNamespace(
        partition_keys=[str(day) for day in sorted(marketplace.frame("clean_listings")["listed_on"].unique())]
    )


@pytest.fixture(scope="module")
def pricing(marketplace: Marketplace) -> ChampionJob:
    """As `price_suggestions` is made of all dates, after it was."""
    tables = (marketplace.frame(name) for name in ("champion_model", "range_adaptation"))
    settings = settings_of(marketplace.home)
    job = written(suggestion_job)(of_all_dates(marketplace), settings, rows_of(marketplace, OPEN), *tables)
    assert job.version == own_part("price_suggestions", settings.recipe)
    return job


@pytest.fixture(scope="module")
def finding(marketplace: Marketplace, pricing: ChampionJob) -> ComparablesJob:
    """As `suggestion_comparables` is."""
    tables = (marketplace.frame(name) for name in ("price_suggestions", "comparable_items"))
    settings = settings_of(marketplace.home)
    job = written(comparables_job)(of_all_dates(marketplace), settings, pricing.rows, *tables)
    assert job.version == own_part("suggestion_comparables", settings.recipe)
    return job


def new_ones(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The listings that are priced, or beside which is searched, from here on."""
    seen: list[str] = []
    price, find = suggestions.newly_suggested, comparables.newly_found

    def pricing(context: dg.OpExecutionContext, job: ChampionJob) -> list[pl.DataFrame]:
        seen.extend(job.rows["listing_id"])
        return price(context, job)

    def finding(artefacts: object, model_id: str, items: SoldItems, rows: pl.DataFrame) -> list[pl.DataFrame]:
        seen.extend(rows["listing_id"])
        return find(artefacts, model_id, items, rows)

    monkeypatch.setattr(suggestions, "newly_suggested", pricing)
    monkeypatch.setattr(comparables, "newly_found", finding)
    return seen


def with_first(rows: pl.DataFrame, **changed: pl.Expr) -> pl.DataFrame:
    """The rows, the first of them changed."""
    first = pl.int_range(pl.len()) == 0
    return rows.with_columns(pl.when(first).then(new).otherwise(name).alias(name) for name, new in changed.items())


def test_what_is_as_it_was_is_suggested_again_and_is_what_would_be(
    pricing: ChampionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = new_ones(monkeypatch)
    again = suggest_prices(dg.build_op_context(), pricing)
    assert seen == []
    anew = suggest_prices(dg.build_op_context(), replace(pricing, before=None))
    assert sorted(seen) == sorted(pricing.rows["listing_id"])
    columns = [name for name in anew.columns if name != "suggested_at"]
    assert_frame_equal(
        again.select(columns).sort("listing_id"), anew.select(columns).sort("listing_id"), abs_tol=1e-5, rel_tol=1e-5
    )


def test_a_listing_that_changed_is_priced_alone(pricing: ChampionJob, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = new_ones(monkeypatch)
    changed = with_first(pricing.rows, category_sales=pl.col("category_sales") + 1)
    after = suggest_prices(dg.build_op_context(), replace(pricing, rows=changed))
    assert seen == [changed["listing_id"][0]]
    assert sorted(after["listing_id"]) == sorted(changed["listing_id"])
    gone = suggest_prices(dg.build_op_context(), replace(pricing, rows=changed[1:]))
    assert sorted(gone["listing_id"]) == sorted(changed["listing_id"][1:]), "it has sold"


def test_by_another_model_version_or_range_all_are_priced(
    pricing: ChampionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = new_ones(monkeypatch)
    monkeypatch.setattr(suggestions, "newly_suggested", lambda context, job: seen.extend(job.rows["listing_id"]) or [])
    rates = pricing.range_adaptation.with_columns(pl.col("miss_rate") / 2)
    others = (
        replace(pricing, version="another"),
        replace(pricing, champions=dict(pricing.champions) | {"photo": "another"}),
    )
    for job in others:
        seen.clear()
        suggest_prices(dg.build_op_context(), job)
        assert sorted(seen) == sorted(pricing.rows["listing_id"])
    seen.clear()
    suggest_prices(dg.build_op_context(), replace(pricing, range_adaptation=rates))
    assert seen, "of a day by which something had sold"


def test_beside_a_listing_stays_what_was_found(finding: ComparablesJob, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = new_ones(monkeypatch)
    again = find_comparables(dg.build_op_context(), finding)
    none_found = set(finding.rows["listing_id"]) - set(finding.before["listing_id"])
    assert set(seen) == none_found, "of a category that had sold nothing"
    anew = find_comparables(dg.build_op_context(), replace(finding, before=None))
    key = ["listing_id", "rank"]
    assert_frame_equal(again.sort(key), anew.sort(key), check_column_order=False)
    seen.clear()
    listing = finding.before["listing_id"][0]
    others = pl.col("listing_id") != listing
    rows = finding.rows.with_columns(pl.when(others).then("title").otherwise(pl.lit("another")).alias("title"))
    find_comparables(dg.build_op_context(), replace(finding, rows=rows))
    assert set(seen) == none_found | {listing}


def test_it_is_searched_again_where_an_item_that_had_sold_before_has_changed(finding: ComparablesJob) -> None:
    (model_id, items_id), *_ = finding.items.items()
    items = SoldItems.load(finding.artefacts, items_id)
    number = items.items.height // 2
    item, day = items.items.row(number, named=True), timedelta(days=1)
    hashes = items.hashes.copy()
    hashes[number] += 1
    changed = replace(items, hashes=hashes)
    asked = pl.DataFrame(
        {
            "category": [item["category"], item["category"], "no such"],
            "listed_on": [item["sold_on"], item["sold_on"] + day, item["sold_on"] + day],
        }
    )
    differ = items.known_before(asked) != changed.known_before(asked)
    assert differ.to_list() == [False, True, False]


def test_what_waits_for_a_check_is_made_anew(tmp_path: Path) -> None:
    warehouse = Warehouse(Home(tmp_path / "home"))
    assert made_before(warehouse, "price_suggestions", ["2024-01-01"]).is_empty()
    row = {name: None for name in TABLES["price_suggestions"].columns} | {
        "listing_id": "L1", "qualified": False, "qualification": 0.1, "inputs": "photo", "reason": "dark",
        "model_id": "m", MADE_FROM: 7,
    }  # fmt: skip
    for day, names in (("2024-01-01", ()), ("2024-01-02", ("schema",))):
        stamped = pl.DataFrame([row]).with_columns(
            listed_on=pl.lit(date.fromisoformat(day)), suggested_at=pl.lit(datetime(2024, 1, 9, tzinfo=UTC))
        )
        rows = conforming(stamped, TABLES["price_suggestions"])
        where = "listed_on = cast(? as date)"
        warehouse.replace("price_suggestions", rows, where, [day], {day: Fingerprint("f")}, Checks("r", names))
    found = made_before(warehouse, "price_suggestions", ["2024-01-01", "2024-01-02"])
    assert found["listed_on"].cast(pl.String).to_list() == ["2024-01-01"]


def test_of_a_table_without_partitions_that_waits_for_a_check_all_is_made_anew(tmp_path: Path) -> None:
    warehouse = Warehouse(Home(tmp_path / "home"))
    asset, numbers = "evaluation_predictions", dict.fromkeys(TABLES["evaluation_predictions"].columns, 0.5)
    row = numbers | {"model_id": "m", "listing_id": "L1", "qualified": True, MADE_FROM: 7}
    rows = conforming(pl.DataFrame([row]), TABLES[asset])
    for names, kept in (((), [7]), (("schema",), [])):
        warehouse.replace(asset, rows, "true", [], {WHOLE: Fingerprint("f")}, Checks("r", names))
        assert made_before(warehouse, asset, [WHOLE])[MADE_FROM].to_list() == kept
        assert made_before(warehouse, asset, [WHOLE], run_id="r")[MADE_FROM].to_list() == [7], "written in the same run"
        assert made_before(warehouse, asset, [WHOLE], run_id="another")[MADE_FROM].to_list() == kept
        assert made_before(warehouse, asset, [WHOLE], ["another"], "r").is_empty()


def test_the_op_that_predicts_test_rows_is_given_what_was_predicted_before(marketplace: Marketplace) -> None:
    settings = settings_of(marketplace.home)
    rows = pl.DataFrame({"listing_id": ["L"]})
    models = [marketplace.frame(f"{kind}_pricing_models") for kind in KINDS]
    job = written(prediction_job)(settings, rows, *models)
    assert job.version == own_part("evaluation_predictions", settings.recipe)
    assert job.before is not None
    assert job.before[MADE_FROM].null_count() == 0
    assert job.before.height == marketplace.frame("evaluation_predictions").height


def test_ranges_are_replayed_with_what_a_champion_predicted_when_it_was_judged(
    marketplace: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, champions = settings_of(marketplace.home), marketplace.frame("champion_model")
    job = written(range_job)(SimpleNamespace(run_id="r"), settings, rows_of(marketplace, SOLD), champions)
    assert job.before is not None and set(job.before["model_id"]) == set(champions["model_id"])
    judged: list[str] = []
    judge = Predictor.judge

    def judging(model: Predictor, visual: np.ndarray, rows: pl.DataFrame) -> Judgement:
        judged.extend([model.model_id] * rows.height)
        return judge(model, visual, rows)

    monkeypatch.setattr(Predictor, "judge", judging)

    def replayed(job: RangeJob) -> pl.DataFrame:
        judged.clear()
        return replay_ranges(dg.build_op_context(), job=job)

    kept_states = replayed(job)
    assert not set(judged) & set(champions["model_id"]), "a refit has predicted nothing before"
    assert_frame_equal(kept_states, replayed(replace(job, before=None)))
    assert set(champions["model_id"]) <= set(judged)
    wrong = job.before.with_columns(predicted_log_price=pl.lit(99.0))
    assert replayed(replace(job, before=wrong))["covered"].sum() < kept_states["covered"].sum()
    changed = wrong.with_columns(pl.col(MADE_FROM) + 1)
    assert_frame_equal(replayed(replace(job, before=changed)), kept_states)
    assert_frame_equal(replayed(replace(job, before=wrong, version="another")), kept_states)


def test_beside_all_listings_is_searched_again_once_what_had_sold_before_them_or_the_code_has_changed(
    finding: ComparablesJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = new_ones(monkeypatch)
    find_comparables(dg.build_op_context(), replace(finding, version="another"))
    assert sorted(seen) == sorted(finding.rows["listing_id"])
    seen.clear()
    load = SoldItems.load

    def changed(*arguments: object) -> SoldItems:
        items = load(*arguments)
        return replace(items, hashes=items.hashes + 1)

    monkeypatch.setattr(SoldItems, "load", changed)
    find_comparables(dg.build_op_context(), finding)
    assert sorted(seen) == sorted(finding.rows["listing_id"])
