"""What it costs that price models see a sample of the sold: their error as it falls with the rows that they learn from.

    python benchmarks/sample.py --home DIR [--shares 0.0625 0.125 0.25 0.5 1]

One of the blend's boosters (`vps_ml.pricing.trees`) on the photos' features and the statistics of a home's sold
listings, split by group. The samples are those of `most_sold`: whole groups by a fixed hash, the smaller part of the
larger. All are judged on the same test rows; differences to the largest have an interval over other draws of groups.
Nothing is written.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from measure import report, tell

from vps_assets.assets.features import SOLD, with_features
from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.tables.splits import fixed_shares
from vps_assets.warehouse.database import Warehouse
from vps_ml.evaluation.resampling import Draws, middle, numbered, weighted_mean
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import FeatureMatrix
from vps_ml.features.tabular import GROUP_OF
from vps_ml.pricing.trees import PRICE, fit_booster
from vps_ml.recipes import demo

FEATURES = "MSTFE"


def dataset_of(home: Home) -> PricingDataset:
    """All sold listings of a home, whatever their number."""
    recipe = replace(demo(), pricing=replace(demo().pricing, most_sold=10**9))
    warehouse = Warehouse(home)

    def table(name: str) -> pl.DataFrame:
        return aligned(warehouse.read(name), TABLES[name])

    listings = map(table, ("clean_listings", "image_embeddings", "text_embeddings"))
    statistics = {history: table(f"{history}_statistics") for history in GROUP_OF}
    return PricingDataset(with_features(SOLD, *listings, statistics, recipe), recipe, home.artefacts)


def errors_by_rows(dataset: PricingDataset, shares: list[float]) -> dict[int, np.ndarray]:
    """Number of training rows -> |predicted - actual log price| of the test rows."""
    role = {name: dataset.role("group", name) for name in ("train", "validation", "test")}
    every, fitted = np.arange(dataset.rows.height), dataset.fitted_map(FEATURES, role["train"])
    blocks = dataset.visual_blocks(FEATURES, every)
    with tempfile.TemporaryDirectory() as scratch:
        matrix = FeatureMatrix.assembled(fitted, blocks, dataset.rows, Path(scratch))
    x = {name: matrix.rows(rows).array() for name, rows in role.items()}
    y = {name: dataset.log_price[rows] for name, rows in role.items()}
    place = fixed_shares("sample:" + dataset.rows["group_key"]).to_numpy()
    found = {}
    for share in shares:
        learnt, stop = (place[role[name]] < share for name in ("train", "validation"))
        booster = fit_booster(
            (x["train"][learnt], y["train"][learnt]), (x["validation"][stop], y["validation"][stop]), PRICE, 0
        )
        error = found[int(learnt.sum())] = np.abs(booster.predict(x["test"]) - y["test"])
        tell(f"{learnt.sum():>10,} training rows: MALE {error.mean():.4f}, {booster.num_trees()} trees")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0625, 0.125, 0.25, 0.5, 1.0])
    arguments = parser.parse_args()
    dataset = dataset_of(Home(arguments.home))
    errors = errors_by_rows(dataset, sorted(arguments.shares))
    most = errors[max(errors)]
    groups = Draws(numbered(dataset.group[dataset.role("group", "test")]))
    costs = {}
    for rows, error in errors.items():
        drawn = np.concatenate([weighted_mean(error - most, weights) for weights in groups])
        costs[rows] = [float(error.mean()), float((error - most).mean()), *middle(drawn)]
        tell(f"{rows:>10,}: {costs[rows][1]:+.4f} [{costs[rows][2]:+.4f}, {costs[rows][3]:+.4f}] to {max(errors):,}")
    report(male_cost_low_high=costs)


if __name__ == "__main__":
    main()
