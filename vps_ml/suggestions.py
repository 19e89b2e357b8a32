"""What a seller is told: a price with its range, or why the photo is not good enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vps_ml.features import PRICE_STATISTICS, SALE_COUNTS, FeatureMap, statistics_matrix
from vps_ml.photos import QUALITY_COLUMNS, PhotoQuality, unqualified_reason
from vps_ml.pricing_table import load_feature_map
from vps_ml.recipes import VISUAL_TASKS
from vps_ml.variants import load_variant


@dataclass(frozen=True)
class Champion:
    """The model that prices, with the feature map that it was trained on."""

    model_id: str
    model: Any
    feature_map: FeatureMap
    features: str
    sale_counts: bool
    embedding_id: str
    """Which backbones' features it was trained on: it can judge no others."""

    @classmethod
    def load(cls, folder: Path) -> "Champion":
        """Read a pricing model's folder and its feature map beside it."""
        model, about = load_variant(folder)
        feature_map = load_feature_map(folder.parent / about["feature_map_id"])
        sale_counts = about["recipe"]["pricing"]["sale_counts"]
        return cls(about["model_id"], model, feature_map, about["features"], sale_counts, about["embedding_id"])

    def tasks(self, trained: Sequence[str]) -> list[str]:
        """The tasks whose features the model sees, of those that are trained, in its order."""
        return [task for task in VISUAL_TASKS[self.features] if task in trained]

    def judge(self, visual: np.ndarray, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(predicted log price, qualification) of listings with these visual features and statistics."""
        prices = rows.select(PRICE_STATISTICS).cast(pl.Float64).to_numpy()
        sales = rows.select(SALE_COUNTS).cast(pl.Float64).to_numpy() if self.sale_counts else None
        x = self.feature_map.matrix(visual, statistics_matrix(prices, sales))
        return self.model.log_price(x), self.model.qualification(x)


def suggestion(log_price: float, qualification: float, champion: Champion, quality: Mapping[str, Any]) -> dict:
    """The seller's answer: `quality` has the photo's measures (`QUALITY_COLUMNS`)."""
    if qualification < 0.5:
        reason = unqualified_reason(PhotoQuality(*(quality[column] for column in QUALITY_COLUMNS)))
        nothing = {"suggested_price": None, "low": None, "high": None}
        return {**nothing, "qualification": float(qualification), "qualified": False, "reason": reason}
    low, high = champion.model.range_offsets
    return {
        "suggested_price": round(exp(log_price), 2),
        "low": round(exp(log_price + low), 2),
        "high": round(exp(log_price + high), 2),
        "qualification": float(qualification),
        "qualified": True,
        "reason": None,
    }
