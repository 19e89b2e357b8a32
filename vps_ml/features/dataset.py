"""The rows that price models are trained and tested on, and their feature matrices."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.files import blocks, keeping_open
from vps_ml.backbones.tasks import VISUAL_TASKS, sees_words, words_in
from vps_ml.cards import Contents, identity
from vps_ml.features.matrix import Block, FeatureMatrix, MatrixRows, WordsBlock
from vps_ml.features.roles import SERVED_SPLIT, roles_contents, unseen
from vps_ml.features.scaling import FeatureMap, VisualMoments, principal_axes, tabular_moments
from vps_ml.features.tabular import expanded, tabular_columns, tabular_matrix
from vps_ml.features.words_map import WordsMap
from vps_ml.recipes import Recipe
from vps_ml.words.files import WordFeatures, joined_words, word_blocks

CODE_VERSION = "8"
"""Part of the id of everything that is fitted on these rows: raise it when a computation changes."""
MOST_FITTED = 20_000
"""Training rows that principal axes are computed on: 330 MB in half precision at the paper's 8,192 features."""


def digest_of(rows: pl.DataFrame) -> str:
    """A digest of everything in the rows."""
    lists = [pl.col(name).list.join("|") for name, dtype in rows.schema.items() if dtype == pl.List]
    return hashlib.sha256(rows.with_columns(lists).write_csv().encode()).hexdigest()[:16]


class PricingDataset:
    """Sold listings, their features and their roles in both splits.

    Columns of `rows`: listing_id, listed_on, category, group_key, photo_hash, log_price, sold_on, group_role, time_role
    and served_role (train, validation, test or null), embedding_path, embedding_row, embedding_id, tasks (list),
    text_path, text_row and text_id, title and description, and those of `vps_ml.features.tabular.TABULAR`.
    """

    def __init__(self, rows: pl.DataFrame, recipe: Recipe, artefacts: Artefacts) -> None:
        self.rows = rows
        self.recipe = recipe
        self.artefacts = artefacts
        self._matrices: dict[tuple[str, bytes], FeatureMatrix] = {}
        self._read = keeping_open()

    @cached_property
    def data_id(self) -> str:
        """An id of everything in the rows that a model learns from."""
        return digest_of(self.rows.drop("tasks", "sold_on", "title", "description", strict=False))

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

    @cached_property
    def text_id(self) -> str:
        """How these words were made numbers.

        Raises:
            ValueError: not all rows have words that were made numbers in one way.
        """
        ids = self.rows["text_id"].unique().to_list()
        if len(ids) != 1 or ids[0] is None:
            raise ValueError(f"words of {len(ids)} kinds: materialise text_embeddings for all dates")
        return ids[0]

    def role(self, split_kind: str, role: str) -> np.ndarray:
        """The numbers of the rows that have this role."""
        return np.flatnonzero((self.rows[f"{split_kind}_role"] == role).fill_null(False).to_numpy())

    def calibrating(self, split_kind: str) -> np.ndarray:
        """The numbers of the rows that a model's threshold and range are calibrated on: its validation rows.

        Of the split that serves only those of the newer half of the days: what is qualified and how far prices are off
        changes with time, and on the split by time, where models are judged, the newest days calibrate too.
        """
        rows = self.role(split_kind, "validation")
        if split_kind != SERVED_SPLIT or not len(rows):
            return rows
        day = self.rows["listed_on"].cast(pl.Int32).to_numpy()[rows]
        return rows[day >= np.median(day)]

    def roles_id(self) -> str:
        """The id of an artefact that keeps which items have which role now (see `unseen`)."""
        roles_id = identity("roles", CODE_VERSION, self.data_id)
        return self.artefacts.models.make(roles_id, lambda: roles_contents(self.rows))

    def unseen_test(self, split_kind: str, cards: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The numbers of the test rows whose item and photo none of these models, nor a backbone, has learnt from.

        A model is kept while new days land, and a sale of those days may be of an item that it was trained on.
        """
        test = self.role(split_kind, "test")
        kept = unseen(self.rows[test].with_row_index("_number"), self.artefacts, cards, split_kind)
        return test[kept["_number"].to_numpy()]

    @cached_property
    def log_price(self) -> np.ndarray:
        return self.rows["log_price"].cast(pl.Float64).to_numpy()

    @cached_property
    def listing_id(self) -> np.ndarray:
        return self.rows["listing_id"].to_numpy()

    @cached_property
    def category(self) -> np.ndarray:
        return self.rows["category"].to_numpy()

    @cached_property
    def group(self) -> np.ndarray:
        return self.rows["group_key"].to_numpy()

    def visual_blocks(self, features: str, rows: np.ndarray) -> Iterator[Block]:
        """The tasks' features of these rows side by side, half precision, an embedding file at a time."""
        trained = set(self.rows["tasks"][0])
        tasks = [task for task in VISUAL_TASKS[features] if task in trained]
        paths, numbers = (self.rows[column][rows].to_list() for column in ("embedding_path", "embedding_row"))
        return blocks([self.artefacts.embedding_file(path) for path in paths], numbers, tasks, self._read)

    def word_blocks(self, rows: np.ndarray) -> Iterator[WordsBlock]:
        """What is said of these rows, a file at a time."""
        assert self.text_id, "all rows have words of one kind"
        paths, numbers = (self.rows[column][rows].to_list() for column in ("text_path", "text_row"))
        return word_blocks([self.artefacts.embedding_file(path) for path in paths], numbers, self._read)

    def words_of(self, rows: np.ndarray) -> WordFeatures:
        """What is said of these rows, in their order."""
        return joined_words(self.word_blocks(rows))

    def matrix(self, features: str, split_kind: str) -> tuple[str, FeatureMatrix]:
        """(id of the feature map, the matrix of all rows); the map is fitted on the split's training rows."""
        recipe, seed = self.recipe.pricing, self.recipe.seed
        seen = recipe.reduced_features, recipe.beyond_paper, vars(self.recipe.words) if sees_words(features) else None
        map_id = identity("feature_map", CODE_VERSION, self.data_id, (features, split_kind), seen, seed)

        def fill() -> Contents:
            return self.fitted_map(features, self.role(split_kind, "train")).contents(features, split_kind)

        self.artefacts.models.make(map_id, fill)
        return map_id, self.transformed(map_id, features, np.arange(self.rows.height))

    def fitted_map(self, features: str, train: np.ndarray) -> FeatureMap:
        """The feature map of training rows.

        Principal axes are computed on `MOST_FITTED` of them at most, a seeded choice; means and scales on all.
        """
        recipe, seed = self.recipe.pricing, self.recipe.seed
        chosen = train
        if len(train) > MOST_FITTED:
            chosen = np.sort(np.random.default_rng(seed).choice(train, MOST_FITTED, replace=False))
        columns = expanded(tabular_columns(recipe.beyond_paper, words_in(features)), self.rows[train])
        words = None
        if sees_words(features):
            words = WordsMap.fitted(self.words_of(chosen), self.recipe.words.reduced_features, seed)
        moments = tabular_moments(tabular_matrix(self.rows, columns)[train])
        width = next(block.shape[1] for _, block in self.visual_blocks(features, train[:1]))
        if recipe.reduced_features is None or recipe.reduced_features >= min(len(train), width):
            visual = VisualMoments.of(block for _, block in self.visual_blocks(features, train))
            return FeatureMap(visual.mean, visual.scale, *moments, columns, words)
        sample = np.empty((len(chosen), width), dtype=np.float16)
        for where, block in self.visual_blocks(features, chosen):
            sample[where] = block
        return FeatureMap(*principal_axes(sample, recipe.reduced_features, seed), *moments, columns, words)

    def matrix_of(self, card: Mapping[str, Any], rows: np.ndarray) -> MatrixRows:
        """The features of these rows for a trained model: through the feature map that it was trained with.

        Raises:
            ValueError: the model was trained on features of other backbones, or on words read otherwise.
        """
        if card.get("text_id") is not None and card["text_id"] != self.text_id:
            raise ValueError(
                f"{card['model_id']} was trained on words {card['text_id']}, not on {self.text_id}: materialise the "
                "pricing models again"
            )
        if card["embedding_id"] != self.embedding_id:
            raise ValueError(
                f"{card['model_id']} was trained on embeddings {card['embedding_id']}, not on {self.embedding_id}: "
                "materialise the pricing models again"
            )
        return self.transformed(card["feature_map_id"], card["features"], rows).rows(np.arange(len(rows)))

    def transformed(self, map_id: str, features: str, rows: np.ndarray) -> FeatureMatrix:
        """The matrix of these rows through a fitted feature map, kept for the models that share the map."""
        key = map_id, rows.tobytes()
        if key not in self._matrices:
            fitted, root = FeatureMap.load(self.artefacts, map_id), self.artefacts.root
            visual, words = self.visual_blocks(features, rows), self.word_blocks(rows) if sees_words(features) else ()
            self._matrices[key] = FeatureMatrix.assembled(fitted, visual, self.rows[rows], root, words)
        return self._matrices[key]
