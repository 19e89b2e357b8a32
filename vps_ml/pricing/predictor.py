"""What a seller is told: a price with its range, or why the photo is not good enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from vps_ml.artefacts import card
from vps_ml.backbones.files import gathered
from vps_ml.features.dataset import load_feature_map
from vps_ml.features.scaling import PRICE_STATISTICS, SALE_COUNTS, FeatureMap, statistics_matrix
from vps_ml.photos.decoding import QUALITY_COLUMNS, PhotoQuality, unqualified_reason
from vps_ml.pricing.calibration import Calibration
from vps_ml.pricing.models import load_variant
from vps_ml.recipes import VISUAL_TASKS, BackboneRecipe

if TYPE_CHECKING:
    from vps_ml.backbones.embedding import FeatureExtractors


@dataclass(frozen=True)
class Priced:
    """What the champion says of one listing; prices in ln units."""

    log_price: float
    low_log_price: float
    high_log_price: float
    qualification: float


@dataclass(frozen=True)
class Champion:
    """The model that prices, with the feature map that it was trained on."""

    model_id: str
    model: Any
    calibration: Calibration
    feature_map: FeatureMap
    features: str
    sale_counts: bool
    embedding_id: str
    """Which backbones' features it was trained on: it sees no others."""

    @classmethod
    def load(cls, folder: Path) -> "Champion":
        """Read a pricing model's folder and its feature map beside it."""
        model, calibration, about = load_variant(folder)
        feature_map = load_feature_map(folder.parent / about["feature_map_id"])
        sale_counts = about["recipe"]["pricing"]["sale_counts"]
        ids = {"model_id": about["model_id"], "embedding_id": about["embedding_id"]}
        seen = {"feature_map": feature_map, "features": about["features"], "sale_counts": sale_counts}
        return cls(model=model, calibration=calibration, **ids, **seen)

    def tasks(self, trained: Sequence[str]) -> list[str]:
        """The tasks whose features the model sees, of those that are trained, in its order."""
        return [task for task in VISUAL_TASKS[self.features] if task in trained]

    def extractors(self, home: Path) -> tuple["FeatureExtractors", int]:
        """(the backbones that it was trained with, the side of the photos that they see, in pixels)."""
        from vps_ml.backbones.embedding import load_extractors

        made_by = card(home / "embeddings" / self.embedding_id)
        folders = {task: home / path for task, path in made_by["backbones"].items()}
        # a model of statistics alone sees no task, but a photo has to go through some network to be measured
        used = {task: folders[task] for task in self.tasks(list(folders)) or list(folders)[:1]}
        recipe = BackboneRecipe(**made_by["backbone_recipe"])
        return load_extractors(used, recipe), recipe.photo_px

    def features_of(self, photos: Sequence[Path], extractors: "FeatureExtractors") -> tuple[np.ndarray, np.ndarray]:
        """(the photos' features as the model was trained on, their quality)."""
        from vps_ml.backbones.embedding import embed

        features, quality = embed(photos, extractors)
        seen = [features[task] for task in self.tasks(list(features))]
        return np.concatenate([np.empty((len(photos), 0)), *seen], axis=1), quality

    def seen(self, rows: pl.DataFrame, home: Path) -> np.ndarray:
        """The rows' visual features as the model was trained on: stored ones, or embedded by its own backbones.

        Args:
            rows: with embedding_id, embedding_path, embedding_row, tasks and photo_path.
            home: the data directory, which the paths are relative to.
        """
        if set(rows["embedding_id"]) == {self.embedding_id}:
            paths = [home / path for path in rows["embedding_path"]]
            return gathered(paths, rows["embedding_row"].to_list(), self.tasks(rows["tasks"][0].to_list()))
        return self.features_of([home / path for path in rows["photo_path"]], self.extractors(home)[0])[0]

    def judge(self, visual: np.ndarray, rows: pl.DataFrame) -> list[Priced]:
        """What the model says of listings with these visual features and statistics."""
        prices = rows.select(PRICE_STATISTICS).cast(pl.Float64).to_numpy()
        sales = rows.select(SALE_COUNTS).cast(pl.Float64).to_numpy() if self.sale_counts else None
        x = self.feature_map.matrix(visual, statistics_matrix(prices, sales))
        judged = self.model.judge(x)
        columns = judged.log_price, *self.calibration.log_range(judged), self.calibration.qualification(judged)
        return [Priced(*(float(value) for value in row)) for row in zip(*columns, strict=True)]


def suggestion(priced: Priced, quality: Mapping[str, Any]) -> dict:
    """The seller's answer: `quality` has the photo's measures (`QUALITY_COLUMNS`)."""
    if priced.qualification < 0.5:
        reason = unqualified_reason(PhotoQuality(*(quality[column] for column in QUALITY_COLUMNS)))
        nothing = {"suggested_price": None, "low": None, "high": None}
        return {**nothing, "qualification": priced.qualification, "qualified": False, "reason": reason}
    # A lopsided range could leave its own price out; a seller is never told that.
    low, high = min(priced.low_log_price, priced.log_price), max(priced.high_log_price, priced.log_price)
    return {
        "suggested_price": round(exp(priced.log_price), 2),
        "low": round(exp(low), 2),
        "high": round(exp(high), 2),
        "qualification": priced.qualification,
        "qualified": True,
        "reason": None,
    }
