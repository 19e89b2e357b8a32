"""Ops that train price models and baselines, and predict their test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from vps_ml import compute
from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.compute import Log
from vps_ml.features.roles import unseen
from vps_ml.features.unchanged import MADE_FROM, kept, made_from
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.pricing.calibration import Calibration, calibration_of
from vps_ml.pricing.variants import Variant, variant_of
from vps_ml.recipes import Recipe

if TYPE_CHECKING:
    from vps_ml.features.dataset import PricingDataset


SAYS_LEFT_AFTER_S = 30.0
SAME = ("model_id", "listing_id", MADE_FROM)
"""What tells a prediction that is kept."""


@dataclass(frozen=True)
class PricingJob:
    """Input of the training: rows (see `vps_ml.features.dataset.PricingDataset`) and variants."""

    rows: pl.DataFrame
    variants: tuple[Variant, ...]
    recipe: Recipe
    artefacts: Artefacts
    executor: str = compute.HERE


@dataclass(frozen=True)
class PredictionJob:
    """Input of the prediction: rows as in training, and rows of the model tables."""

    rows: pl.DataFrame
    models: pl.DataFrame
    recipe: Recipe
    artefacts: Artefacts
    before: pl.DataFrame | None = None
    """Predictions that were made earlier, with what they were made from."""
    version: str = ""
    """Of what predicts, beside the models: by another one nothing is kept."""


@dataclass(frozen=True)
class OutOfBoundsJob:
    """Input of the prediction of what cleaning took out of the test rows."""

    prediction: PredictionJob
    beyond: pl.DataFrame
    """Columns as in training but for the stored features; `group_role` and `time_role` are test or null."""


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def train_pricing_models(context: dg.OpExecutionContext, job: PricingJob) -> pl.DataFrame:
    """Train the variants, price models or baselines; one row per model.

    Raises:
        ValueError: an objective or baseline is not registered; nothing has been trained then.
    """
    from vps_ml.pricing.models import check_registered

    check_registered(job.variants)
    shares = [job.variants] if job.executor == compute.HERE else sharing(job.variants)
    jobs = [replace(job, variants=share) for share in shares]
    fitted = compute.each(job.executor, fit_variants, jobs, context.log.info)
    by_variant = {variant: one for found in fitted for variant, one in found.items()}
    return model_rows(by_variant, job.variants, job.artefacts)


def sharing(variants: Sequence[Variant]) -> list[tuple[Variant, ...]]:
    """The variants in groups that have fold networks, trees and kernel machines in common."""
    groups: dict[tuple, list[Variant]] = {}
    for variant in variants:
        groups.setdefault((variant.features, variant.split_kind, variant.seed), []).append(variant)
    return [tuple(group) for group in groups.values()]


def fit_variants(job: PricingJob, log: Log) -> dict[Variant, tuple[str, Calibration]]:
    """Of each of the job's variants its artefact, which is fitted unless it was before, and its calibration."""
    from vps_ml.features.dataset import PricingDataset
    from vps_ml.pricing.models import Predictions, fit_alike, fit_variant

    dataset, began, begun = PricingDataset(job.rows, job.recipe, job.artefacts), monotonic(), count()
    found, telling = dict[Variant, str](), Lock()

    def fit(variant: Variant, not_wanted: Event | None = None) -> None:
        place = place_of(variant, next(begun), len(job.variants), monotonic() - began)

        def tell(line: str) -> None:
            with telling:
                log(f"{place} {line}")

        found[variant] = fit_variant(dataset, variant, tell, not_wanted)

    for alike in sharing(job.variants):
        fit_alike(dataset, alike, fit)
    predictions = Predictions(dataset)
    return {variant: (found[variant], predictions.calibration(variant, found[variant])) for variant in job.variants}


def place_of(variant: Variant, done: int, count: int, elapsed_s: float) -> str:
    """Which of the models is being fitted, with which seed, and how long the rest may take.

    That is told from the models before, some of which are quicker than others, once they have taken a while.
    """
    left_min = elapsed_s * (count - done) / max(done, 1) / 60
    left = f", about {left_min:.0f} min left" if elapsed_s >= SAYS_LEFT_AFTER_S and left_min >= 1 else ""
    return f"[{done + 1} of {count}, seed {variant.seed}{left}]"


def model_rows(
    fitted: Mapping[Variant, tuple[str, Calibration]], variants: Sequence[Variant], artefacts: Artefacts
) -> pl.DataFrame:
    """Rows of the model tables, of these variants: the variant, its id, its calibration and its artefact."""
    rows = []
    for variant in variants:
        artefact_id, calibration = fitted[variant]
        rows.append(
            {
                "model_id": table_id(variant, artefact_id),
                **asdict(variant),
                **asdict(calibration),
                "trained_on": artefacts.models.card(artefact_id).get("trained_on"),
                "path": artefacts.model_path(artefact_id),
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def table_id(variant: Variant, artefact_id: str) -> str:
    """A model's id in the tables: the artefact's; of a baseline, whose readings share one, also the reading."""
    if variant.constraint_kind != "baseline":
        return artefact_id
    return f"{variant.objective}-{variant.split_kind}-{variant.constraint_value}-{artefact_id}"


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def predict_test_rows(context: dg.OpExecutionContext, job: PredictionJob) -> pl.DataFrame:
    """Each model's predictions for the test rows of its split; one row per model and listing.

    What a model has predicted of a listing that is as it was is kept (docs/adr/0035).
    """
    from vps_ml.features.dataset import PricingDataset

    dataset = PricingDataset(job.rows, job.recipe, job.artefacts)
    predictions = predictions_of_test_rows(dataset, job.models, job.before, job.version)
    kept_rows = 0 if job.before is None else predictions.join(job.before, on=SAME, how="semi").height
    context.log.info(
        f"{job.models.height} models: {kept_rows:,} of {predictions.height:,} predictions are as they were"
    )
    return predictions


def predictions_of_test_rows(
    dataset: "PricingDataset", models: pl.DataFrame, before: pl.DataFrame | None = None, version: str = ""
) -> pl.DataFrame:
    """The models' predictions for their splits' test rows, without rows that any of the models has learnt from.

    Args:
        dataset: what the models were trained on, with what has sold since.
        models: rows of the model tables.
        before: predictions of earlier, of which those by these models of rows that are as they were are kept.
        version: of what predicts.

    Raises:
        ValueError: an objective or baseline is not registered, or one of an older version is not calibrated; nothing
            has been predicted then.
    """
    from vps_ml.pricing.models import Predictions, check_registered
    from vps_ml.threads import threads_for

    variants = [variant_of(row) for row in models.iter_rows(named=True)]
    check_registered(variants)
    calibrations = [calibration_of(row) for row in models.iter_rows(named=True)]
    cards = [dataset.artefacts.models.card(id_in_path(path)) for path in models["path"].unique()]
    rows = {split: dataset.unseen_test(split, cards) for split in models["split_kind"].unique()}
    predictions = Predictions(dataset)
    tested = {split: hashed(dataset, numbers, version) for split, numbers in rows.items()}
    earlier = {} if before is None else before.partition_by("model_id", as_dict=True)
    frames = []
    with threads_for(max(map(len, rows.values())), dataset.recipe.pricing.features_seen):
        for row, variant, calibration in zip(models.iter_rows(named=True), variants, calibrations, strict=True):
            test = tested[variant.split_kind]
            as_before = kept(earlier.get((row["model_id"],)), test)
            new = test.join(as_before, on="listing_id", how="anti", maintain_order="left")
            made = [as_before.drop("listed_on", strict=False)]
            if new.height or as_before.is_empty():
                numbers = new["number"].to_numpy()
                found = predictions.of(variant, id_in_path(row["path"]), calibration, numbers)
                made.append(found.with_columns(new[MADE_FROM]))
            predicted = pl.concat(made, how="diagonal").with_columns(model_id=pl.lit(row["model_id"]))
            frames.append(test.select("listing_id").join(predicted, on="listing_id", maintain_order="left"))
    return pl.concat(frames, how="diagonal")


def hashed(dataset: "PricingDataset", rows: np.ndarray, version: str) -> pl.DataFrame:
    """What the predictions for the rows with these numbers are made from, beside the model."""
    found = dataset.rows[rows]
    return found.select("listing_id", "listed_on").with_columns(made_from(found, version), number=pl.Series(rows))


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def predict_out_of_bounds(context: dg.OpExecutionContext, job: OutOfBoundsJob) -> pl.DataFrame:
    """Each model's price for the test listings whose sold price cleaning took for irrational; one row per both."""
    from vps_ml.features.others import WithOthers, embedded_now
    from vps_ml.threads import threads_for

    rows, artefacts = job.prediction.rows, job.prediction.artefacts
    if job.beyond.is_empty() or rows.is_empty():
        return pl.DataFrame()
    there = [photo.exists() for photo in artefacts.photos(job.beyond["photo_hash"])]
    beyond = job.beyond.filter(pl.Series(there, dtype=pl.Boolean))
    context.log.info(
        f"{beyond.height:,} listings; {job.beyond.height - beyond.height:,} whose photo is gone are left out"
    )
    if beyond.is_empty():
        return pl.DataFrame()
    photos = artefacts.photos(beyond["photo_hash"])
    visual = embedded_now(photos, rows["embedding_id"][0], artefacts, context.log.info)
    dataset = WithOthers(rows, beyond, visual, job.prediction.recipe, artefacts)
    models = job.prediction.models
    calibrations = [calibration_of(row) for row in models.iter_rows(named=True)]
    cards = [artefacts.models.card(id_in_path(path)) for path in models["path"].unique()]
    tested = {}
    for split in models["split_kind"].unique():
        rows_of_split = beyond.with_row_index("_number").filter(pl.col(f"{split}_role") == "test")
        tested[split] = dataset.others[unseen(rows_of_split, artefacts, cards, split)["_number"].to_numpy()]
    with threads_for(beyond.height, job.prediction.recipe.pricing.features_seen):
        return predictions_of_others(dataset, models, calibrations, tested)


def predictions_of_others(
    dataset: "PricingDataset",
    models: pl.DataFrame,
    calibrations: Sequence[Calibration],
    tested: Mapping[str, np.ndarray],
) -> pl.DataFrame:
    """The models' prices for the rows of their splits with these numbers, which may be none."""
    from vps_ml.pricing.models import Predictions

    predictions = Predictions(dataset)
    frames = []
    for row, calibration in zip(models.iter_rows(named=True), calibrations, strict=True):
        numbers = tested[row["split_kind"]]
        if len(numbers):
            predicted = predictions.of(variant_of(row), id_in_path(row["path"]), calibration, numbers)
            columns = predicted.select("listing_id", "log_price", "predicted_log_price")
            frames.append(columns.with_columns(model_id=pl.lit(row["model_id"]), split_kind=pl.lit(row["split_kind"])))
    return pl.concat(frames) if frames else pl.DataFrame()
