"""The rows that price models learn from and are judged on, and the matrices they see of them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from vps_ml.artefacts import artefact, card, identity
from vps_ml.backbones.files import blocks
from vps_ml.features.scaling import (
    PRICE_STATISTICS,
    SALE_COUNTS,
    FeatureMap,
    VisualMoments,
    principal_axes,
    statistic_moments,
    statistics_matrix,
)
from vps_ml.recipes import VISUAL_TASKS, Recipe

if TYPE_CHECKING:
    from vps_ml.features.matrix import Block, FeatureMatrix

CODE_VERSION = "3"
"""Part of the id of everything that is fitted on these rows: raise it when a computation changes."""


MOST_FITTED = 20_000
"""Training rows that principal axes are computed of: 330 MB in half precision at the paper's 8,192 features."""
ITEM = ("group_key", "photo_hash")
"""What may not be on two sides of a split."""
ROLES = "roles.parquet"
LEARNT = "learnt.parquet"
"""In a backbone's folder: the items and photos it learnt from."""


def unseen(rows: pl.DataFrame, home: Path, abouts: Sequence[dict], split_kind: str) -> pl.DataFrame:
    """The rows of items and photos that had no part in training or calibrating models, nor in training their backbones.

    Args:
        rows: with the columns `ITEM`.
        home: the data directory.
        abouts: the models' cards.
        split_kind: `group` or `time`.
    """
    known = []
    for roles_id in {about["roles_id"] for about in abouts}:
        known.append(learnt_items(home / "models" / roles_id, [split_kind]))
    for embedding_id in {about["embedding_id"] for about in abouts}:
        backbones = card(home / "embeddings" / embedding_id)["backbones"]
        known += [pl.read_parquet(home / folder / LEARNT) for folder in backbones.values()]
    for column in ITEM if known else ():
        rows = rows.join(pl.concat(known).select(column).unique(), on=column, how="anti", maintain_order="left")
    return rows


def learnt_items(roles: Path, split_kinds: Sequence[str]) -> pl.DataFrame:
    """The items and photos that train or calibrate in one of these splits, by a folder of roles."""
    rows = pl.read_parquet(roles / ROLES)
    sides = (pl.col(f"{split_kind}_role").is_in(["train", "validation"]) for split_kind in split_kinds)
    return rows.filter(pl.any_horizontal(sides)).select(ITEM)


class PricingTable:
    """Listings with a price, their features and their roles in both splits.

    Columns of `rows`: listing_id, listed_on, category, group_key, photo_hash, log_price (null where open), group_role
    and time_role (train, validation, test or null), embedding_path, embedding_row, embedding_id, tasks (list), and
    the fifteen statistics of `vps_ml.features.scaling`.
    """

    def __init__(self, rows: pl.DataFrame, recipe: Recipe, home: Path) -> None:
        self.rows = rows
        self.recipe = recipe
        self.home = home
        self.models = home / "models"
        self.judges: dict[tuple[str, str], Callable] = {}
        """Baselines that have been loaded (see `vps_ml.pricing.models`)."""
        self._matrices: dict[str, FeatureMatrix] = {}

    @cached_property
    def data_id(self) -> str:
        """An id of everything in the rows."""
        return hashlib.sha256(self.rows.drop("tasks").write_csv().encode()).hexdigest()[:16]

    @cached_property
    def embedding_id(self) -> str:
        """Which backbones' features these are.

        Raises:
            ValueError: the rows' features are of different backbones.
        """
        ids = self.rows["embedding_id"].unique().to_list()
        if len(ids) != 1:
            raise ValueError(f"features of {len(ids)} sets of backbones: materialise image_embeddings for all dates")
        return ids[0]

    def role(self, split_kind: str, role: str) -> np.ndarray:
        """The numbers of the rows that have this role."""
        return np.flatnonzero((self.rows[f"{split_kind}_role"] == role).fill_null(False).to_numpy())

    def roles_id(self) -> str:
        """The id of an artefact that keeps which groups and photos have which role now (see `unseen`)."""
        roles_id = identity("roles", CODE_VERSION, self.data_id)

        def make(folder: Path) -> dict:
            self.rows.select(*ITEM, "group_role", "time_role").write_parquet(folder / ROLES)
            return {"kind": "roles"}

        artefact(self.models, roles_id, make)
        return roles_id

    def unseen_test(self, split_kind: str, abouts: Sequence[dict]) -> np.ndarray:
        """The numbers of the test rows whose item and photo none of these models (cards), nor a backbone, has learnt.

        A model is kept while new days land, and what is sold on them may be an item that it knows.
        """
        test = self.role(split_kind, "test")
        kept = unseen(self.rows[test].with_row_index("_number"), self.home, abouts, split_kind)
        return test[kept["_number"].to_numpy()]

    @cached_property
    def log_price(self) -> np.ndarray:
        return self.rows["log_price"].cast(pl.Float64).to_numpy()

    @cached_property
    def listing_id(self) -> np.ndarray:
        return self.rows["listing_id"].to_numpy()

    @cached_property
    def group(self) -> np.ndarray:
        return self.rows["group_key"].to_numpy()

    def visual_blocks(self, features: str, rows: np.ndarray) -> "Iterator[Block]":
        """The tasks' features of these rows side by side, half precision, an embedding file at a time."""
        trained = set(self.rows["tasks"][0])
        tasks = [task for task in VISUAL_TASKS[features] if task in trained]
        asked = self.rows.select("embedding_path", "embedding_row")[rows]
        return blocks([self.home / path for path in asked["embedding_path"]], asked["embedding_row"].to_list(), tasks)

    @cached_property
    def statistics(self) -> np.ndarray:
        prices = self.rows.select(PRICE_STATISTICS).cast(pl.Float64).to_numpy()
        sales = self.rows.select(SALE_COUNTS).cast(pl.Float64).to_numpy()
        return statistics_matrix(prices, sales if self.recipe.pricing.sale_counts else None)

    def matrix(self, features: str, split_kind: str) -> tuple[str, "FeatureMatrix"]:
        """(id of the feature map, the matrix of all rows); the map is learnt of the split's training rows."""
        reduced, seed = self.recipe.pricing.reduced_features, self.recipe.seed
        map_id = identity("feature_map", CODE_VERSION, self.data_id, (features, split_kind), reduced, seed)

        def make(folder: Path) -> dict:
            fitted = self.fitted_map(features, self.role(split_kind, "train"))
            save_arrays(vars(fitted), folder / "map.safetensors")
            return {"kind": "feature_map", "features": features, "split_kind": split_kind}

        artefact(self.models, map_id, make)
        return map_id, self.through(map_id, features)

    def fitted_map(self, features: str, train: np.ndarray) -> FeatureMap:
        """The feature map of training rows.

        Principal axes are of `MOST_FITTED` of them at most, a seeded choice; means and scales of all.
        """
        reduced, seed = self.recipe.pricing.reduced_features, self.recipe.seed
        chosen = train
        if len(train) > MOST_FITTED:
            chosen = np.sort(np.random.default_rng(seed).choice(train, MOST_FITTED, replace=False))
        statistics = statistic_moments(self.statistics[train])
        width = next(block.shape[1] for _, block in self.visual_blocks(features, train[:1]))
        if reduced is None or reduced >= min(len(train), width):
            moments = VisualMoments.of(block for _, block in self.visual_blocks(features, train))
            return FeatureMap(moments.mean, moments.scale, *statistics)
        sample = np.empty((len(chosen), width), dtype=np.float16)
        for where, block in self.visual_blocks(features, chosen):
            sample[where] = block
        return FeatureMap(*principal_axes(sample, reduced, seed), *statistics)

    def seen_by(self, about: dict) -> "FeatureMatrix":
        """The matrix of all rows as a trained model sees them: through the map that it was trained with.

        Raises:
            ValueError: the model was trained on features of other backbones.
        """
        if about["embedding_id"] != self.embedding_id:
            raise ValueError(
                f"{about['model_id']} was trained on embeddings {about['embedding_id']}, not on {self.embedding_id}: "
                "materialise the pricing models again"
            )
        return self.through(about["feature_map_id"], about["features"])

    def through(self, map_id: str, features: str) -> "FeatureMatrix":
        """The matrix of all rows through a fitted feature map, kept for the models that share the map."""
        from vps_ml.features.matrix import FeatureMatrix

        if map_id not in self._matrices:
            fitted = load_feature_map(self.models / map_id)
            all_rows = self.visual_blocks(features, np.arange(self.rows.height))
            self._matrices[map_id] = FeatureMatrix.assembled(fitted, all_rows, self.statistics, self.home)
        return self._matrices[map_id]


def load_feature_map(folder: Path) -> FeatureMap:
    return FeatureMap(**load_arrays(folder / "map.safetensors"))
