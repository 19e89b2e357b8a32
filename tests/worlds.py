"""Small invented worlds to learn from, and the shortest trainings on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from vps_ml.features.matrix import FeatureMatrix, MatrixRows
from vps_ml.features.tabular import LOG_RATIO, TABULAR, expanded, log_price, tabular_columns
from vps_ml.pricing import learners
from vps_ml.pricing.learners import FoldNetworks
from vps_ml.pricing.networks import Examples, PriceNetwork
from vps_ml.recipes import BackboneRecipe, PricingRecipe, demo
from vps_ml.training_loop import Session

TINY = BackboneRecipe(
    architecture="resnet10", photo_px=32, start="random", frozen_stages=0, epochs=4, batch_size=8,
    learning_rate=2e-3, weight_decay=0.01,
)  # fmt: skip
QUICK = replace(
    demo().pricing, hidden=(32, 16), epochs=(6, 3, 12, 6), learning_rates=(5e-3, 2e-3), dropout=0.1, folds=3
)


class Killed(Exception):
    """The run was broken off here."""


def quiet(message: str) -> None:
    """No log."""


def coloured(folder: Path, count: int) -> tuple[list[Path], list[str]]:
    """Photos whose label is their colour: a task that a few epochs learn."""
    paths, labels = [], []
    for i in range(count):
        colour = ("red", "blue")[i % 2]
        image = Image.new("RGB", (40, 40), colour)
        image.paste((i % 250, i % 250, i % 250), (0, 0, 10, 10))
        image.save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
        labels.append(colour)
    return paths, labels


def world(rows: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, log prices, which items are clear): feature 0 alone prices a clear item, the others are noise.

    Feature 1 is positive for the clear half.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    clear = x[:, 1] > 0
    y = np.where(clear, 2.0 * x[:, 0], 2.0 * x[:, 0] + rng.normal(0, 2, rows))
    return x, y, clear


def rows(x: np.ndarray) -> MatrixRows:
    """All rows of a matrix that is this array."""
    return FeatureMatrix.of(x).rows(np.arange(len(x)))


def examples(x: np.ndarray, target: np.ndarray) -> Examples:
    """All rows of this array, with what is predicted from them."""
    return Examples.of(rows(x), target)


def tabular_rows(count: int, seed: int = 0) -> pl.DataFrame:
    """Rows with every column of `TABULAR`: prices around 1, and small counts."""
    rng = np.random.default_rng(seed)
    prices = {name: np.exp(rng.normal(size=count)) for name, column in TABULAR.items() if column.encode is log_price}
    sales = {name: rng.integers(0, 9, count) for name in TABULAR if name.endswith(("_sales", "_history"))}
    labels = {name: [("phone", "shoes")[i % 2] for i in range(count)] for name in ("category", "brand", "condition")}
    lists = {name: [["white", "cotton"][: i % 3] for i in range(count)] for name in ("attributes", "specifications")}
    ratios = {name: rng.normal(size=count) for name in TABULAR if name.endswith(LOG_RATIO)}
    return pl.DataFrame(prices | sales | labels | lists | ratios)


def columns_of(rows: pl.DataFrame, beyond_paper: bool = True) -> tuple[str, ...]:
    """The tabular columns that models see which are fitted on these rows."""
    return expanded(tabular_columns(beyond_paper), rows)


def fold_networks(x: np.ndarray, y: np.ndarray, group: np.ndarray, recipe: PricingRecipe = QUICK) -> FoldNetworks:
    """Cross-fitted networks, stopped by other rows of the same world where the features are those of `world`."""
    unseen, prices = world(100, seed=9)[:2] if x.shape[1] == 6 else (x, y)
    return learners.train_folds((rows(x), y), (rows(unseen), prices), group, recipe, 0, Session(quiet))


def jointly(x: np.ndarray, y: np.ndarray, session: Session) -> tuple[PriceNetwork, ...]:
    """The paper's two networks, for half of the items."""
    objective = learners.constraint_objective("percentile", 0.5, QUICK, 2.0)
    prices = examples(x, y)
    return learners.train_jointly(prices, prices, objective, QUICK, True, 0, session)
