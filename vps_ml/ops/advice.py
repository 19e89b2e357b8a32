"""The op that measures what would help a listing that cannot be priced: a sharper photo, a title, the brand …"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.atomic import temporary_folder
from vps_ml.evaluation.advice import PHOTO, PIECES, SHARPER, blanked, gains
from vps_ml.features.given import SAID, inputs_of_rows
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.pricing.chosen import by_words_alone

if TYPE_CHECKING:
    from vps_ml.pricing.predictor import Predictor

BLURRED = 150
"""Photos that are blurred, an arbitrary but fixed choice of the listings."""


@dataclass(frozen=True)
class AdviceJob:
    """Listings that none of the models has learnt from, columns as of `ChampionJob` but for the photo's quality."""

    rows: pl.DataFrame
    champions: Mapping[str, str]
    """Inputs -> the champion as it was judged: its refit has learnt from these listings."""
    artefacts: Artefacts


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def measure_advice(context: dg.OpExecutionContext, job: AdviceJob) -> pl.DataFrame:
    """One row per thing that helps and inputs before it: of the listings refused without it, how many it gets a price.

    Each listing that has the thing is judged as it is and as if it had not, by whichever champion would serve it; and
    as a photo alone, and with this one thing beside it.
    """
    from vps_ml.pricing.predictor import Predictor

    if job.rows.is_empty() or set(job.champions) != {"photo", "words", "both"}:
        return pl.DataFrame()
    models = {inputs: Predictor.load(job.artefacts, model_id) for inputs, model_id in job.champions.items()}
    visual = {inputs: model.visual_features(job.rows) for inputs, model in models.items()}
    whole, silent = served(models, visual, job.rows), blanked(job.rows, SAID)
    by_photo = served(models, visual, silent)
    both_silent = judged_by_both(models, visual, silent)
    found = []
    for piece, columns in PIECES.items():
        has = job.rows.select(pl.any_horizontal(pl.col(name).is_not_null() for name in columns)).to_series().to_numpy()
        without = blanked(job.rows, columns)
        still_said = has & (inputs_of_rows(without) == "both").to_numpy()
        found += gains(piece, without, served(models, visual, without), whole, still_said)
        alone = blanked(job.rows, tuple(name for name in SAID if name not in columns))
        found += gains(piece, silent, by_photo, served(models, visual, alone), has, reference=both_silent)
    said = predicted_by(models["words"], visual["words"], job.rows)
    spoken = (inputs_of_rows(job.rows) == "both").to_numpy()
    found += gains(PHOTO, job.rows, said, whole, spoken, before_by="words")
    found += blurred_gains(models, job, whole)
    context.log.info(f"{job.rows.height:,} listings judged with and without {', '.join([*PIECES, PHOTO])}, and blurred")
    return pl.DataFrame(found, infer_schema_length=None)


def served(models: Mapping, visual: Mapping[str, np.ndarray], rows: pl.DataFrame) -> np.ndarray:
    """The rows' qualification by the model that would price them."""
    inputs, out = inputs_of_rows(rows).to_numpy(), np.zeros(rows.height)
    for name in np.unique(inputs):
        mine = inputs == name
        some, of_these = rows.filter(pl.Series(mine)), {kind: visual[kind][mine] for kind in visual}
        both = name == "both"
        out[mine] = judged_by_both(models, of_these, some) if both else predicted_by(models[name], of_these[name], some)
    return out


def judged_by_both(models: Mapping, visual: Mapping[str, np.ndarray], rows: pl.DataFrame) -> np.ndarray:
    """The rows' qualification by the model of both, and by that of words where it is asked instead."""
    by = {inputs: predicted_by(models[inputs], visual[inputs], rows) for inputs in ("both", "photo", "words")}
    return np.where(by_words_alone(by["both"], by["photo"], by["words"]), by["words"], by["both"])


def predicted_by(model: "Predictor", visual: np.ndarray, rows: pl.DataFrame) -> np.ndarray:
    """The rows' qualification by one model."""
    return np.array([prediction.qualification for prediction in model.predict(visual, rows)])


def blurred_gains(models: Mapping, job: AdviceJob, whole: np.ndarray) -> list[dict]:
    """What a sharper photo gets: listings whose photo is blurred, and as they are."""
    from vps_ml.photos.corruptions import CORRUPTIONS, shrunk

    there = np.array([photo.exists() for photo in job.artefacts.photos(job.rows["photo_hash"])], dtype=bool)
    chosen = np.flatnonzero(there)[:BLURRED]
    if not chosen.size:
        return []
    rows, extractors = job.rows[chosen], models["both"].extractors()
    blur = CORRUPTIONS["blur"]
    with temporary_folder(job.artefacts.root, "advice") as folder:
        paths = [folder / f"{number}.png" for number in range(len(chosen))]
        for photo_hash, path in zip(rows["photo_hash"], paths, strict=True):
            photo = shrunk(job.artefacts.photo(photo_hash), 2 * extractors.photo_px)
            blur.apply(photo, strength=blur.strengths[len(blur.strengths) // 2]).save(path, compress_level=1)
        visual = {inputs: models[inputs].embedded(paths, extractors)[0] for inputs in ("photo", "both")}
        visual["words"] = np.empty((len(paths), 0))
    return gains(SHARPER, rows, served(models, visual, rows), whole[chosen], np.ones(len(chosen), dtype=bool))
