"""A new day of listings, taken in step by step."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Marketplace, vps
from scenario import listing, listings_file


@pytest.fixture(scope="module")
def new_day(marketplace: Marketplace, tmp_path_factory: pytest.TempPathFactory) -> Marketplace:
    """The marketplace on a data directory of its own: these tests land more, each on what the one before left."""
    home = marketplace.copied(tmp_path_factory.mktemp("new_day") / "home")
    return Marketplace(home, marketplace.output, marketplace.progress)


def fingerprints(marketplace: Marketplace) -> dict[tuple[str, str], tuple]:
    """(asset, partition) -> basis, sales and content."""
    found = marketplace.query("select asset, partition, basis, sales, content from lineage.made")
    return {(asset, partition): fingerprint for asset, partition, *fingerprint in found}


@pytest.mark.slow
def test_a_new_day_changes_its_own_partitions_alone(new_day: Marketplace, tmp_path: Path) -> None:
    rows = [
        listing(
            i, listed_at=datetime(2024, 8, 2, tzinfo=UTC), sold_at=datetime(2024, 8, 3, tzinfo=UTC), category="phone"
        )
        for i in range(3)
    ]
    before = fingerprints(new_day)
    landed = vps("land", str(listings_file(tmp_path, rows)), home=new_day.home.path)
    assert landed.returncode == 0, landed.stderr
    ran = vps("run", "--select", "raw_listings,clean_listings", "--from", "2024-08-01", home=new_day.home.path)
    assert ran.returncode == 0, ran.stderr
    assert new_day.query("select count(*) from clean_listings where listed_on = '2024-08-02'") == [(3,)]
    assert new_day.query("select count(*) from raw_listings") == [(503,)]
    after = fingerprints(new_day)
    assert {key for key in after if before.get(key) != after[key]} == {
        ("raw_listings", "2024-08-02"),
        ("clean_listings", "2024-08-02"),
    }


@pytest.mark.slow
def test_models_judge_new_rows_by_what_they_were_trained_with(new_day: Marketplace) -> None:
    """After the new day has landed: evaluation without training again gives the old rows their old predictions."""
    sql = "select model_id || listing_id, predicted_log_price from evaluation_predictions"
    before = dict(new_day.query(sql))
    chosen = "image_embeddings,text_embeddings,evaluation_predictions"
    ran = vps("run", "--select", chosen, "--from", "2024-08-01", home=new_day.home.path)
    assert ran.returncode == 0, ran.stderr
    after = dict(new_day.query(sql))
    assert len(after) > len(before)
    # a single-precision network over other batches: equal to its rounding
    assert {key: after[key] for key in before} == pytest.approx(before, abs=1e-4)


@pytest.mark.slow
def test_a_run_after_a_new_day_prices_it_with_the_models_in_force(new_day: Marketplace) -> None:
    """Nothing is trained; what depends on the day is made, and then nothing has to be done."""
    models = (
        "select model_id from percentile_pricing_models union all select backbone_id from task_backbones order by 1"
    )
    champion = "select model_id, path from champion_model"
    before = new_day.query(models), new_day.query(champion)
    ran = vps("run", home=new_day.home.path)
    assert ran.returncode == 0, ran.stderr
    assert "epoch" not in ran.stderr and "trained" not in ran.stderr
    assert (new_day.query(models), new_day.query(champion)) == before
    assert re.search(r"^price_suggestions, .*2024-08-02 to 2024-08-02$", ran.stderr, re.MULTILINE)
    assert vps("run", home=new_day.home.path).stdout.startswith("Nothing had to be done")
