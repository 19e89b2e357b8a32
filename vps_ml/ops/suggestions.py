"""The op that prices open listings with the champion."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.features.given import inputs_of_rows
from vps_ml.ops import GPU_POOL, GPU_TAGS


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
    miss_rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Model -> segment -> what share of its ranges may miss now; none: as the model was calibrated."""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def suggest_prices(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per open listing: a price with its range, or the reason why there is none."""
    from vps_ml.pricing.predictor import Predictor, suggestion

    suggested = []
    given = inputs_of_rows(job.rows)
    served = given.replace_strict({name: name if name in job.champions else "photo" for name in ("photo", "both")})
    for inputs in served.unique(maintain_order=True):
        rows = job.rows.filter(served == inputs)
        champion = Predictor.load(job.artefacts, job.champions[inputs])
        predicted = champion.predict(champion.visual_features(rows), rows, job.miss_rates.get(champion.model_id))
        qualified = sum(prediction.qualification >= 0.5 for prediction in predicted)
        context.log.info(f"{rows.height:,} open listings by {inputs}, {qualified:,} qualified")
        suggested += [
            {
                "listing_id": row["listing_id"],
                "listed_on": row["listed_on"],
                "inputs": inputs,
                **suggestion(prediction, row),
                "model_id": champion.model_id,
            }
            for row, prediction in zip(rows.iter_rows(named=True), predicted, strict=True)
        ]
    return pl.DataFrame(suggested, infer_schema_length=None)
