"""The price model in force, and the seller's answer: a price with its range, or why the photo is not good enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import FeatureExtractors, embed, load_extractors
from vps_ml.backbones.files import gathered
from vps_ml.backbones.tasks import VISUAL_TASKS
from vps_ml.features.roles import backbones_of
from vps_ml.features.scaling import FeatureMap
from vps_ml.photos.quality import NOTHING_BELOW, QUALITY_COLUMNS, TOO_LITTLE, PhotoQuality, unqualified_reason
from vps_ml.pricing.calibration import Calibration, Judgement, Prediction, price_range
from vps_ml.pricing.models import CALIBRATING, load_model
from vps_ml.pricing.networks import PricingModel
from vps_ml.recipes import BackboneRecipe
from vps_ml.words.files import WordFeatures, joined_words, word_blocks
from vps_ml.words.masking import said
from vps_ml.words.reading import Reader


@dataclass(frozen=True)
class Predictor:
    """A price model with what it takes to predict for listings that it was not trained on."""

    model_id: str
    model: PricingModel
    calibration: Calibration
    feature_map: FeatureMap
    features: str
    """`vps_ml.backbones.tasks.VISUAL_TASKS`."""
    embedding_id: str
    """Which backbones' features it was trained on: it takes no others."""
    artefacts: Artefacts
    calibrating: np.ndarray | None = None
    """Scaled residuals of accepted validation rows, from which any range can be read; None: a model without them."""
    text_id: str | None = None
    """How the words were read that it was trained on; None: it takes no words."""

    @classmethod
    def load(cls, artefacts: Artefacts, model_id: str) -> "Predictor":
        """Read a price model and its feature map."""
        model, calibration, card = load_model(artefacts, model_id)
        feature_map = FeatureMap.load(artefacts, card["feature_map_id"])
        calibrating = artefacts.models.arrays(model_id, CALIBRATING)[CALIBRATING] if CALIBRATING in card else None
        features, embedding_id, text_id = card["features"], card["embedding_id"], card.get("text_id")
        return cls(model_id, model, calibration, feature_map, features, embedding_id, artefacts, calibrating, text_id)

    def tasks(self, trained: Sequence[str]) -> list[str]:
        """The tasks whose features the model takes, of those that are trained, in its order."""
        return [task for task in VISUAL_TASKS[self.features] if task in trained]

    def trained_tasks(self) -> list[str]:
        """The tasks of the backbones that it was trained with."""
        return list(backbones_of(self.artefacts, self.embedding_id))

    def extractors(self) -> FeatureExtractors:
        """The backbones that the model was trained with."""
        backbones = backbones_of(self.artefacts, self.embedding_id)
        # A model of statistics alone takes no task's features, but its photo still has to be measured.
        used = {task: backbones[task] for task in self.tasks(list(backbones)) or list(backbones)[:1]}
        recipe = BackboneRecipe(**self.artefacts.embeddings.card(self.embedding_id)["backbone_recipe"])
        return load_extractors(used, recipe, self.artefacts)

    def embedded(self, photos: Sequence[Path], extractors: FeatureExtractors) -> tuple[np.ndarray, np.ndarray]:
        """(the photos' features as the model was trained on, their quality)."""
        features, quality = embed(photos, extractors)
        return self.visual(features), quality

    def visual(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Networks' features of some photos, as the model was trained on."""
        photos = len(next(iter(features.values())))
        taken = [features[task] for task in self.tasks(list(features))]
        return np.concatenate([np.empty((photos, 0)), *taken], axis=1)

    def visual_features(self, rows: pl.DataFrame) -> np.ndarray:
        """The rows' visual features as the model was trained on: stored ones, or embedded by its own backbones.

        Args:
            rows: with embedding_id, embedding_path, embedding_row, tasks and photo_hash.
        """
        if not VISUAL_TASKS[self.features]:
            return np.empty((rows.height, 0))
        if set(rows["embedding_id"]) == {self.embedding_id}:
            files = [self.artefacts.embedding_file(path) for path in rows["embedding_path"]]
            return gathered(files, rows["embedding_row"].to_list(), self.tasks(rows["tasks"][0].to_list()))
        photos = self.artefacts.photos(rows["photo_hash"])
        return self.embedded(photos, self.extractors())[0]

    @cached_property
    def reader(self) -> Reader:
        """What reads words as the model was trained on them, its encoder loaded once."""
        assert self.text_id is not None, "a model without words reads none"
        return Reader(self.artefacts, self.text_id)

    def words(self, rows: pl.DataFrame) -> WordFeatures | None:
        """What the rows' sellers say, as the model was trained on it: as it was stored, or read now; None: no words.

        Args:
            rows: with title and description, and with text_id, _path and _row where their words have been stored.
        """
        if self.text_id is None:
            return None
        if "text_id" in rows.columns and set(rows["text_id"]) == {self.text_id}:
            files = [self.artefacts.embedding_file(path) for path in rows["text_path"]]
            return joined_words(word_blocks(files, rows["text_row"].to_list()))
        texts = [said(*parts) for parts in rows.select("title", "description").iter_rows()]
        return self.reader.read(texts)

    def matrix(self, rows: pl.DataFrame, visual: np.ndarray | None = None) -> Float[np.ndarray, "N F"]:
        """Price features of listings, as the model takes them.

        Args:
            rows: the listings, with title, description, tabular columns and, without `visual`, those of
                `visual_features`.
            visual: their visual features as the model was trained on; None: those that are stored.
        """
        visual = self.visual_features(rows) if visual is None else visual
        return self.feature_map.matrix(visual, rows, self.words(rows))

    def judge(self, visual: np.ndarray, rows: pl.DataFrame) -> Judgement:
        """The judgement of listings with these visual features, words and tabular columns."""
        return self.model.judge(self.matrix(rows, visual))

    def predict(
        self,
        visual: np.ndarray,
        rows: pl.DataFrame,
        miss_rates: np.ndarray | None = None,
        contrast: np.ndarray | None = None,
    ) -> list[Prediction]:
        """Predictions for listings with these visual features, words and tabular columns: see `predicted`."""
        return self.predicted(self.matrix(rows, visual), miss_rates, contrast)

    def predicted(
        self,
        x: Float[np.ndarray, "N F"],
        miss_rates: np.ndarray | None = None,
        contrast: Float[np.ndarray, " N"] | None = None,
    ) -> list[Prediction]:
        """Predictions for listings with these price features.

        Args:
            x: as `matrix` has them.
            miss_rates: what share of each one's ranges may miss (`vps_ml.evaluation.adaptation.rates_as_of`); NaN, or
                None: as it was calibrated.
            contrast: of their photos: one below `NOTHING_BELOW` shows nothing, and has qualification 0, whatever a gate
                says that has hardly seen such; None: no photo is seen, or the model is judged by itself.
        """
        judged = self.model.judge(x)
        qualification = self.calibration.qualification(judged)
        if contrast is not None:
            qualification = np.where(contrast < NOTHING_BELOW, 0.0, qualification)
        columns = judged.log_price, *self.log_range(judged, miss_rates), qualification
        return [Prediction(*(float(value) for value in row)) for row in zip(*columns, strict=True)]

    def log_range(self, judged: Judgement, miss_rates: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) ends of the price range, as log prices."""
        if miss_rates is None or self.calibrating is None:
            return self.calibration.log_range(judged)
        calibrated = self.calibration.range_low, self.calibration.range_high
        rates, which = np.unique(miss_rates, return_inverse=True)
        ends = [calibrated if np.isnan(rate) else price_range(self.calibrating, 1 - rate) for rate in rates]
        low, high = np.array(ends).reshape(-1, 2)[which].T
        return judged.log_price + low * judged.expected_error, judged.log_price + high * judged.expected_error


def suggestion(predicted: Prediction, quality: Mapping[str, Any] | None) -> dict[str, Any]:
    """The seller's answer: `quality` has the photo's measures (`QUALITY_COLUMNS`); None without a photo."""
    if predicted.qualification < 0.5:
        reason = TOO_LITTLE
        if quality is not None:
            reason = unqualified_reason(PhotoQuality(*(quality[column] for column in QUALITY_COLUMNS)))
        nothing = {"suggested_price": None, "low": None, "high": None}
        return {**nothing, "qualification": predicted.qualification, "qualified": False, "reason": reason}
    low, high = predicted.shown_range
    return {
        "suggested_price": round(exp(predicted.log_price), 2),
        "low": round(exp(low), 2),
        "high": round(exp(high), 2),
        "qualification": predicted.qualification,
        "qualified": True,
        "reason": None,
    }
