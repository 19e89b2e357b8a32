"""The demo marketplace: its listings, and the truth behind them."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import LAST_DATE
from scenario import quiet

from vps_assets.demo.catalogue import CATEGORIES
from vps_assets.demo.market import ABSURD_SHARE, BAD_ROWS, FAULT_SHARE, MISSING, make_market, simulated


@pytest.fixture(scope="module")
def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    listings, truths, _ = simulated(4800, 0, LAST_DATE)
    return pl.DataFrame(listings, infer_schema_length=None), pl.DataFrame(truths, infer_schema_length=None)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one with its photos."""
    return make_market(tmp_path_factory.mktemp("market") / "demo", 300, 0, quiet)


def test_the_same_seed_draws_the_same_marketplace() -> None:
    assert simulated(300, 1, LAST_DATE)[0] == simulated(300, 1, LAST_DATE)[0]
    assert simulated(300, 1, LAST_DATE)[0] != simulated(300, 2, LAST_DATE)[0]


def test_another_last_date_moves_the_same_marketplace() -> None:
    (listings, truths, _), (moved, same, _) = (simulated(300, 1, LAST_DATE + timedelta(days=k)) for k in (0, 40))
    assert truths == same
    assert {b["listed_at"] - a["listed_at"] for a, b in zip(listings, moved, strict=True)} == {timedelta(days=40)}


def test_a_fresh_marketplace_ends_yesterday_and_stays_as_it_is_on_later_days(drawn: Path, tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    folder = shutil.copytree(drawn, tmp_path / "demo")
    listed = pl.read_parquet(folder / "listings.parquet")["listed_at"].dt.date()
    assert yesterday - timedelta(days=1) <= listed.max() <= yesterday
    assert listed.min() > yesterday - timedelta(days=90)
    make_market(folder, 300, 0, quiet, LAST_DATE)
    made = (folder / "market.json").stat().st_mtime_ns
    make_market(folder, 300, 0, quiet)
    assert (folder / "market.json").stat().st_mtime_ns == made, "whichever its last date, where none is asked for"
    assert pl.read_parquet(folder / "listings.parquet")["listed_at"].dt.date().max() == LAST_DATE


def test_it_has_the_papers_categories_ninety_days_and_hundreds_of_unequal_sellers(market: tuple) -> None:
    listings, _ = market
    assert set(listings["category"].drop_nulls()) == set(CATEGORIES)
    assert listings["listed_at"].dt.date().n_unique() == 90
    counts = listings["seller_id"].value_counts(sort=True)["count"]
    assert counts.len() > 200
    assert counts[0] > 20 * counts.median()


def test_labels_faults_and_absurd_prices_come_at_their_stated_shares(market: tuple) -> None:
    listings, truth = market
    for column, share in MISSING.items():  # three standard errors over 4,800 rows are at most 0.019
        assert listings[column].null_count() / 4800 == pytest.approx(share, abs=0.019)
    assert truth["fault"].is_not_null().mean() == pytest.approx(FAULT_SHARE, abs=0.016)
    assert truth["absurd"].mean() == pytest.approx(ABSURD_SHARE, abs=0.008)
    assert truth["spoilt"].sum() == BAD_ROWS


def test_most_items_are_sold_and_the_newest_are_open(market: tuple) -> None:
    listings, _ = market
    sold = listings.with_columns(sold=pl.col("sold_at").is_not_null(), day=pl.col("listed_at").dt.date())
    by_day = sold.group_by("day").agg(pl.col("sold").mean()).sort("day")["sold"]
    assert by_day[:20].mean() > 0.85
    assert by_day[-1] < 0.5


def test_the_noise_depends_on_the_category(market: tuple) -> None:
    listings, truth = market
    sales = listings.join(truth, on="listing_id").filter(~pl.col("absurd"), ~pl.col("spoilt").fill_null(False))
    residual = sales["sold_price"].log() - sales["noise_free_log_price"]
    spread = (
        sales.with_columns(residual=residual).group_by("true_category").agg(pl.col("residual").std(), pl.first("noise"))
    )
    # ten standard errors of a standard deviation over the rarest category's hundred sales are 0.7 of it
    assert np.corrcoef(spread["residual"], spread["noise"])[0, 1] > 0.95


def test_the_truth_lies_apart_from_what_is_landed(drawn: Path) -> None:
    assert "noise_free_log_price" not in pl.read_parquet(drawn / "listings.parquet").columns
    assert pl.read_parquet(drawn / "truth.parquet").height == 300
    made = (drawn / "market.json").stat().st_mtime_ns
    make_market(drawn, 300, 0, quiet)
    assert (drawn / "market.json").stat().st_mtime_ns == made
