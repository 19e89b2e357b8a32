"""A dataset with further listings behind its own: photos that have no stored features, embedded now."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import FeatureExtractors, embed, load_extractors
from vps_ml.backbones.tasks import VISUAL_TASKS
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import Block, WordsBlock
from vps_ml.features.roles import backbones_of
from vps_ml.recipes import BackboneRecipe, Recipe
from vps_ml.words.files import WordFeatures
from vps_ml.words.masking import said
from vps_ml.words.reading import Reader

AT_ONCE = 512
"""Photos that are embedded at a time."""


class WithOthers(PricingDataset):
    """The dataset's own rows, by which baselines are calibrated, and behind them the others."""

    def __init__(
        self,
        own: pl.DataFrame,
        others: pl.DataFrame,
        visual: Mapping[str, np.ndarray],
        recipe: Recipe,
        artefacts: Artefacts,
    ) -> None:
        """`visual`: every network's features of the others, in their order. `others` have a title and a description."""
        kept = [name for name in own.columns if name in others.columns]
        ids = [pl.lit(own[name][0], pl.String).alias(name) for name in ("embedding_id", "text_id")]
        beside = others.select(kept).with_columns(ids)
        self.texts = [said(*parts) for parts in others.select("title", "description").iter_rows()]
        super().__init__(pl.concat([own, beside], how="diagonal_relaxed"), recipe, artefacts)
        self.own, self.visual = own.height, visual

    @property
    def others(self) -> np.ndarray:
        """The numbers of the others."""
        return np.arange(self.own, self.rows.height)

    def visual_blocks(self, features: str, rows: np.ndarray) -> Iterator[Block]:
        """As of any dataset: stored features, and behind them those that were embedded now."""
        inside = rows < self.own
        places = np.flatnonzero(inside)
        for where, block in super().visual_blocks(features, rows[inside]) if places.size else ():
            yield places[where], block
        if (~inside).any():
            tasks = [task for task in VISUAL_TASKS[features] if task in self.visual]
            chosen = rows[~inside] - self.own
            none = np.empty((len(chosen), 0), dtype=np.float16)  # of a model that sees no photo
            blocks = [none, *(self.visual[task][chosen] for task in tasks)]
            yield np.flatnonzero(~inside), np.concatenate(blocks, axis=1)

    def word_blocks(self, rows: np.ndarray) -> Iterator[WordsBlock]:
        """As of any dataset: stored words, and behind them those that are read now."""
        inside = rows < self.own
        places = np.flatnonzero(inside)
        for where, words in super().word_blocks(rows[inside]) if places.size else ():
            yield places[where], words
        if (~inside).any():
            yield np.flatnonzero(~inside), self.read.rows(rows[~inside] - self.own)

    @cached_property
    def read(self) -> WordFeatures:
        """The others' words."""
        return Reader(self.artefacts, self.text_id).read(self.texts)


def extractors_of(embedding_id: str, artefacts: Artefacts) -> FeatureExtractors:
    """Every network of a set of embeddings."""
    recipe = BackboneRecipe(**artefacts.embeddings.card(embedding_id)["backbone_recipe"])
    return load_extractors(backbones_of(artefacts, embedding_id), recipe, artefacts)


def embedded_now(
    photos: Sequence[Path], embedding_id: str, artefacts: Artefacts, tell: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """The photos' features by every network of a set of embeddings."""
    extractors, parts = extractors_of(embedding_id, artefacts), []
    for start in range(0, len(photos), AT_ONCE):
        parts.append(embed(photos[start : start + AT_ONCE], extractors)[0])
        tell(f"{min(start + AT_ONCE, len(photos)):,} of {len(photos):,} photos embedded")
    return {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
