"""Ops that train the tasks' backbones and embed photos with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from vps_ml import compute
from vps_ml.artefacts import Artefacts
from vps_ml.backbones.files import QUALITY, RowOf, in_order, load_quality, save_embeddings, taken_over, without
from vps_ml.backbones.tasks import UNTUNED
from vps_ml.cards import Contents, identity
from vps_ml.compute import Log
from vps_ml.features.roles import ITEM, LEARNT
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.photos.batches import in_batches
from vps_ml.photos.quality import QUALITY_COLUMNS
from vps_ml.recipes import BackboneRecipe, Recipe

CODE_VERSION = "3"
EMBEDDING_VERSION = "3"


@dataclass(frozen=True)
class BackboneJob:
    """Input of the training: rows with group_key, photo_hash and a column per task."""

    rows: pl.DataFrame
    tasks: tuple[str, ...]
    recipe: Recipe
    artefacts: Artefacts
    executor: str = compute.HERE


@dataclass(frozen=True)
class EmbeddingJob:
    """Input of the embedding: rows with listing_id, listed_on and photo_hash; task -> backbone id."""

    rows: pl.DataFrame
    backbones: dict[str, str]
    recipe: Recipe
    artefacts: Artefacts
    executor: str = compute.HERE


@dataclass(frozen=True)
class MissingBackbones:
    """Part of a training: task -> id of the backbone to train."""

    job: BackboneJob
    ids: dict[str, str]


@dataclass(frozen=True)
class MissingDates:
    """Part of an embedding: path of a date's file -> the date's rows."""

    dates: dict[str, pl.DataFrame]
    backbones: dict[str, str]
    recipe: BackboneRecipe
    artefacts: Artefacts


def backbone_id(job: BackboneJob, task: str) -> str:
    """The id of a task's backbone: its photos, its labels, the recipe and the code; untuned, of no photos."""
    if task == UNTUNED:
        return identity("backbone", CODE_VERSION, task, vars(job.recipe.backbone), job.recipe.seed)
    rows = job.rows.select("photo_hash", task).rows()
    return identity("backbone", CODE_VERSION, task, rows, vars(job.recipe.backbone), job.recipe.seed)


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def train_task_backbones(context: dg.OpExecutionContext, job: BackboneJob) -> pl.DataFrame:
    """Train each task's backbone on photos that are decoded once; one row per task."""
    from vps_ml.backbones.labels import distinct_labels

    ids = {task: backbone_id(job, task) for task in job.tasks}
    if UNTUNED in ids and job.recipe.backbone.start != "random":
        store_untuned(job, ids[UNTUNED])
    missing = [task for task in ids if task != UNTUNED and ids[task] not in job.artefacts.models]
    unlabelled = {task for task in missing if distinct_labels(task, job.rows[task].to_list()) < 2}
    to_train = {task: ids[task] for task in missing if task not in unlabelled}
    # Here all tasks learn from photos that are decoded once; on several hosts each task decodes its own.
    shares = [to_train] if job.executor == compute.HERE else [{task: to_train[task]} for task in to_train]
    jobs = [MissingBackbones(job, ids) for ids in shares if ids]
    compute.each(job.executor, train_missing, jobs, context.log.info, whole_hosts=True)
    why = {task: "left out: too few labels" for task in unlabelled}
    if job.recipe.backbone.start == "random":
        why[UNTUNED] = "left out: it starts at random"
    rows = [left_out_row(task, why[task]) if task in why else made_row(job, task, ids[task]) for task in job.tasks]
    return pl.DataFrame(rows)


def store_untuned(job: BackboneJob, artefact_id: str) -> None:
    """Keep the network as it starts, like a backbone that has learnt from no photo."""
    from vps_ml.backbones.networks import resnet
    from vps_ml.training_loop import weights

    def fill() -> Contents:
        state = weights(resnet(job.recipe.backbone.architecture, job.recipe.backbone.start, job.recipe.seed))
        card: dict[str, object] = {
            "kind": "backbone",
            "backbone_id": artefact_id,
            "task": UNTUNED,
            "labels": [],
            "loss_by_epoch": [],
            "validation_score": None,
            "photos": 0,
            "recipe": job.recipe.described(),
            "code_version": CODE_VERSION,
        }
        return Contents(card, arrays={"state": state}, frames={LEARNT: job.rows.select(ITEM).clear()})

    job.artefacts.models.make(artefact_id, fill)


def train_missing(missing: MissingBackbones, log: Log) -> None:
    """Train the backbones without an artefact, and store each as soon as it is done."""
    from vps_ml.backbones.networks import accelerators
    from vps_ml.backbones.training import photo_source, train_in_ranks
    from vps_ml.training_loop import Session

    job = missing.job
    models, recipe, seed = job.artefacts.models, job.recipe.backbone, job.recipe.seed
    photos = job.artefacts.photos(job.rows["photo_hash"])
    source = photo_source(photos, recipe, seed, log)
    for task, artefact_id in missing.ids.items():

        def fill(task: str = task, artefact_id: str = artefact_id) -> Contents:
            session = Session(log, models.resume_folder(artefact_id), log_every_s=0.0)
            trained = train_in_ranks(accelerators(), task, source, job.rows[task].to_list(), recipe, seed, session)
            card = {
                "kind": "backbone",
                "backbone_id": artefact_id,
                "task": task,
                "labels": trained.labels,
                "centre": trained.centre,
                "scale": trained.scale,
                "loss_by_epoch": trained.loss_by_epoch,
                "validation_score": trained.validation_score,
                "photos": trained.photos,
                "recipe": job.recipe.described(),
                "code_version": CODE_VERSION,
            }
            learnt = job.rows.filter(pl.col(task).is_not_null()).select(ITEM)
            return Contents(card, arrays={"state": trained.state}, frames={LEARNT: learnt})

        models.make(artefact_id, fill)


def made_row(job: BackboneJob, task: str, artefact_id: str) -> dict:
    """A trained backbone's row of the table `task_backbones`."""
    job.artefacts.models.share(artefact_id)  # a run that was killed may have left it on this disk alone
    card = job.artefacts.models.card(artefact_id)
    return {
        "task": task,
        "backbone_id": artefact_id,
        "state": "as it starts" if task == UNTUNED else "trained",
        "labels": len(card["labels"]),
        "photos": card["photos"],
        "loss_by_epoch": card["loss_by_epoch"],
        "validation_score": card["validation_score"],
        "path": job.artefacts.model_path(artefact_id),
    }


def left_out_row(task: str, why: str) -> dict:
    """The row of a task that too few listings have a label for, or of a start that is no features."""
    return {
        "task": task,
        "backbone_id": None,
        "state": why,
        "labels": 0,
        "photos": 0,
        "loss_by_epoch": [],
        "validation_score": None,
        "path": None,
    }


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def embed_photos(context: dg.OpExecutionContext, job: EmbeddingJob) -> pl.DataFrame:
    """Embed the dates' photos with every task's backbone, a file per date; one row per listing."""
    artefacts = job.artefacts
    paths = {task: artefacts.model_path(backbone) for task, backbone in job.backbones.items()}
    embedding_id = identity("embedding", EMBEDDING_VERSION, sorted(paths.items()))
    card = {"backbones": paths, "backbone_recipe": vars(job.recipe.backbone)}
    artefacts.embeddings.make(embedding_id, lambda: Contents(card))
    dates = {}
    for (day,), rows in job.rows.sort("listed_on", "listing_id").group_by("listed_on", maintain_order=True):
        digest = identity(embedding_id, rows["photo_hash"].to_list())
        dates[artefacts.embedding_path(embedding_id, str(day), digest)] = rows
    missing = [(path, rows) for path, rows in dates.items() if not artefacts.embedding_file(path).exists()]
    shares = compute.parts(missing, compute.slots(job.executor)) if missing else []
    jobs = [MissingDates(dict(share), job.backbones, job.recipe.backbone, artefacts) for share in shares]
    compute.each(job.executor, embed_dates, jobs, context.log.info)
    artefacts.share_embeddings(dates)  # also those that a run embedded which was killed before it shared them
    frames = [
        embedding_rows(path, rows, load_quality(artefacts.embedding_file(path)), embedding_id, list(job.backbones))
        for path, rows in dates.items()
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def embed_dates(job: MissingDates, log: Log) -> None:
    """Embed the dates' photos in one stream, and write each date's file as soon as its last photo is embedded.

    Photos that an earlier file of their date has are not embedded again. Batches end with their date, so that a date's
    features do not depend on which other dates were missing.
    """
    from vps_ml.backbones.embedding import embedded, joined, load_extractors, photos_at_once

    wanted = {path: rows["photo_hash"].to_list() for path, rows in job.dates.items()}
    known = {path: taken_over(job.artefacts.root / path, hashes) for path, hashes in wanted.items()}
    new = {path: without(hashes, [rows for _, rows in known[path]]) for path, hashes in wanted.items()}
    at_once = photos_at_once()
    batches = {path: several_each(job.artefacts.photos(hashes), at_once) for path, hashes in new.items()}
    every = [batch for of_date in batches.values() for batch in of_date]
    stream = embedded(every, load_extractors(job.backbones, job.recipe, job.artefacts)) if every else iter(())
    for path, hashes in wanted.items():
        parts = known[path]
        if new[path]:
            features, quality = joined(list(islice(stream, len(batches[path]))))
            parts = [*parts, ({**features, QUALITY: quality}, {one: row for row, one in enumerate(new[path])})]
        arrays = gathered_from(parts, hashes)
        save_embeddings(job.artefacts.root / path, arrays, arrays.pop(QUALITY), hashes)
        job.artefacts.share_embeddings([path])
        kept = len(set(hashes)) - len(new[path])
        as_before = f", {kept:,} as they were" if kept else ""
        made = f"{len(new[path]):,} photos of {len(hashes):,} listings embedded"
        log(f"{job.dates[path]['listed_on'][0]}: {made}{as_before}")


def several_each(photos: list[Path], at_once: int) -> list[Sequence[Path]]:
    """Batches of so many photos, two at least, a single one twice: what is rounded otherwise if a photo is alone.

    So a small network's features of a photo are the same whichever others of its date are embedded with it (resnet10
    and 18 on a CPU; a test holds it). Of ResNet-50 on one thread, or by an accelerator, they are so but for rounding.
    """
    batches = in_batches(photos, at_once)
    return [*batches[:-1], [*batches[-1]] * 2] if batches and len(batches[-1]) == 1 else batches


def gathered_from(parts: Sequence[tuple[dict[str, np.ndarray], RowOf]], hashes: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of these photos, from the parts that have them."""
    order = in_order(hashes, [rows for _, rows in parts])
    return {
        name: np.concatenate([arrays[name][list(rows.values())] for arrays, rows in parts])[order]
        for name in parts[0][0]
    }


def embedding_rows(
    path: str, rows: pl.DataFrame, quality: np.ndarray, embedding_id: str, tasks: Sequence[str]
) -> pl.DataFrame:
    """A date's rows of the table `image_embeddings`."""
    return rows.select(
        "listing_id",
        "listed_on",
        pl.lit(embedding_id).alias("embedding_id"),
        pl.lit(path).alias("path"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.lit(list(tasks), dtype=pl.List(pl.String)).alias("tasks"),
        *(pl.Series(column, quality[:, i]) for i, column in enumerate(QUALITY_COLUMNS)),
    )
