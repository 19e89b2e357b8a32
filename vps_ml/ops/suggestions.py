"""The op that prices open listings with the champion."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.tasks import inputs_of
from vps_ml.evaluation.adaptation import rates_as_of
from vps_ml.features.given import inputs_of_rows
from vps_ml.features.unchanged import MADE_FROM, kept, made_from
from vps_ml.ops import GPU_POOL, GPU_TAGS, PREDICTED_AT_ONCE

if TYPE_CHECKING:
    from vps_ml.pricing.calibration import Prediction
    from vps_ml.pricing.chosen import Predicting
    from vps_ml.pricing.predictor import Predictor


@dataclass(frozen=True)
class ChampionJob:
    """Listings for the champions to judge.

    Columns: listing_id, listed_on, photo_hash, embedding_id, _path and _row, tasks, text_id, _path and _row, title and
    description, the tabular columns, and the photo's quality.
    """

    rows: pl.DataFrame
    champions: Mapping[str, str]
    """Inputs -> the model that prices by them; there is one of the photo."""
    artefacts: Artefacts
    range_adaptation: pl.DataFrame | None = None
    """How often the models' ranges may miss, day by day; None: as they were calibrated."""
    before: pl.DataFrame | None = None
    """Suggestions for listings of these dates that were made earlier, with what they were made from."""
    version: str = ""
    """Of what makes suggestions, beside the champions: by another one nothing is kept."""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def suggest_prices(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per open listing: a price with its range, or the reason why there is none.

    What was suggested of a listing that is as it was, by the same champions, is suggested again (docs/adr/0035).
    """
    rows = job.rows.with_columns(made_from_all(job))
    as_before = kept(job.before, rows)
    if rows.height:
        as_they_were = f"{as_before.height:,} of these dates' {rows.height:,} open listings"
        context.log.info(f"{as_they_were} are as they were when priced")
    new = rows.join(as_before, on="listing_id", how="anti", maintain_order="left")
    suggested = [as_before, *newly_suggested(context, replace(job, rows=new))]
    return pl.concat([frame for frame in suggested if frame.width], how="diagonal_relaxed")


def made_from_all(job: ChampionJob) -> pl.Series:
    """What each listing's suggestion is made from: the listing, the champions, and its ranges' miss rates."""
    rates = {
        f"miss rate of {inputs}": rates_as_of(job.range_adaptation, model_id, job.rows)
        for inputs, model_id in job.champions.items()
        if job.range_adaptation is not None
    }
    return made_from(job.rows.with_columns(**rates), job.version, job.champions)


def newly_suggested(context: dg.OpExecutionContext, job: ChampionJob) -> list[pl.DataFrame]:
    """Suggestions for the job's listings, each with what it was made from."""
    if job.rows.is_empty():
        return []
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.threads import threads_for

    suggested: list[pl.DataFrame] = []
    loaded = {inputs: Predictor.load(job.artefacts, model_id) for inputs, model_id in job.champions.items()}
    given = inputs_of_rows(job.rows)
    served = given.replace_strict({name: name if name in job.champions else "photo" for name in ("photo", "both")})
    for inputs in served.unique(maintain_order=True):
        rows = job.rows.filter(served == inputs)
        with threads_for(rows.height, loaded[inputs].feature_map.width):
            parts = [suggestions_by(inputs, job, loaded, part) for part in rows.iter_slices(PREDICTED_AT_ONCE)]
        suggested += parts
        qualified, by_words = (
            sum(part.filter(chosen).height for part in parts)
            for chosen in (pl.col("qualified"), pl.col("inputs") == "words")
        )
        instead = f", {by_words:,} of them by words alone" if by_words and inputs == "both" else ""
        context.log.info(f"{rows.height:,} open listings priced by {inputs}, {qualified:,} qualified{instead}")
    return suggested


def suggestions_by(
    inputs: str, job: ChampionJob, loaded: "Mapping[str, Predictor]", rows: pl.DataFrame
) -> pl.DataFrame:
    """Suggestions for some of the listings that the model of these inputs prices, or that of words in its place."""
    from vps_ml.pricing.chosen import said_instead
    from vps_ml.pricing.predictor import suggestion

    predicted = predictions(job, loaded[inputs], rows)
    instead: Mapping[int, Prediction] = {}
    if inputs == "both" and "words" in loaded:
        photo, words = (asked(job, loaded[name], rows) for name in ("photo", "words"))
        instead = said_instead(predicted, photo, words)
    answers = [
        (inputs, prediction) if number not in instead else ("words", instead[number])
        for number, prediction in enumerate(predicted)
    ]
    said = [
        {
            "listing_id": row["listing_id"],
            "listed_on": row["listed_on"],
            "inputs": by,
            **suggestion(prediction, row),
            "model_id": loaded[by].model_id,
            MADE_FROM: row[MADE_FROM],
        }
        for row, (by, prediction) in zip(rows.iter_rows(named=True), answers, strict=True)
    ]
    return pl.DataFrame(said, schema_overrides={MADE_FROM: pl.UInt64}, infer_schema_length=None)


def predictions(job: ChampionJob, model: "Predictor", rows: pl.DataFrame) -> "list[Prediction]":
    """A model's predictions for some of the job's listings, with the ranges in force on their listing days."""
    rates = None
    if job.range_adaptation is not None:
        rates = rates_as_of(job.range_adaptation, model.model_id, rows)
    contrast = None if inputs_of(model.features) == "words" else rows["contrast"].to_numpy()
    return model.predict(model.visual_features(rows), rows, rates, contrast)


def asked(job: ChampionJob, model: "Predictor", rows: pl.DataFrame) -> "Predicting":
    """The model's predictions for those of the rows that it will be asked for."""
    return lambda numbers: predictions(job, model, rows[list(numbers)])
