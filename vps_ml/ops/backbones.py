"""Ops that train the tasks' backbones and embed photos with them."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import artefact, card, identity, resume_folder
from vps_ml.backbones.files import load_quality, save_embeddings
from vps_ml.features.dataset import ITEM, LEARNT
from vps_ml.photos.decoding import QUALITY_COLUMNS, in_batches
from vps_ml.recipes import Recipe

GPU = {"vps/device": "gpu"}
CODE_VERSION = "3"
EMBEDDING_VERSION = "3"


@dataclass(frozen=True)
class BackboneJob:
    """What training needs: rows with group_key, photo_hash, photo_path, a column a task; tasks; the data directory."""

    rows: pl.DataFrame
    tasks: tuple[str, ...]
    recipe: Recipe
    home: str


@dataclass(frozen=True)
class EmbeddingJob:
    """What embedding needs: rows with listed_on, photo_path, photo_hash; backbones by task; data directory."""

    rows: pl.DataFrame
    backbones: dict[str, str]
    recipe: Recipe
    home: str


def backbone_id(job: BackboneJob, task: str) -> str:
    """The id of a task's backbone: its photos, its labels, the recipe and the code."""
    rows = job.rows.select("photo_hash", task).rows()
    return identity("backbone", CODE_VERSION, task, rows, vars(job.recipe.backbone), job.recipe.seed)


@dg.op(tags=GPU, pool="gpu")
def train_task_backbones(context: dg.OpExecutionContext, job: BackboneJob) -> pl.DataFrame:
    """Train each task's backbone on photos that were decoded once; one row per task."""
    ids = {task: backbone_id(job, task) for task in job.tasks}
    missing = {task: i for task, i in ids.items() if not (Path(job.home) / "models" / i).exists()}
    unlabelled = {task for task in missing if distinct_labels(job.rows, task) < 2}
    if missing.keys() - unlabelled:
        train_missing(context, job, {t: i for t, i in missing.items() if t not in unlabelled})
    return pl.DataFrame([backbone_row(job, task, ids[task], task in unlabelled) for task in job.tasks])


def distinct_labels(rows: pl.DataFrame, task: str) -> int:
    """How many labels common enough to learn the task has; a price counts as many."""
    from vps_ml.backbones.training import labelled

    if task == "price":
        return rows[task].drop_nulls().n_unique()
    return len(labelled(task, rows[task].to_list()).names)


def train_missing(context: dg.OpExecutionContext, job: BackboneJob, missing: dict[str, str]) -> None:
    """Train the backbones that have no artefact yet, and write each as soon as it is done."""
    from safetensors.torch import save_file

    from vps_ml.backbones.training import photo_source, train_backbone
    from vps_ml.checkpoints import Checkpoint

    recipe, seed, models = job.recipe.backbone, job.recipe.seed, Path(job.home) / "models"
    paths = [Path(path) for path in job.rows["photo_path"]]
    source = photo_source(paths, recipe, seed, context.log.info)
    for task, artefact_id in missing.items():

        def make(folder: Path, task: str = task, artefact_id: str = artefact_id) -> dict:
            labels = job.rows[task].to_list()
            kept = Checkpoint(resume_folder(models, artefact_id) / "backbone.pt")
            trained = train_backbone(task, source, labels, recipe, seed, context.log.info, kept)
            save_file(trained.state, folder / "state.safetensors")
            labelled = job.rows.filter(pl.col(task).is_not_null())
            labelled.select(ITEM).write_parquet(folder / LEARNT)
            return {
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

        artefact(models, artefact_id, make)


def backbone_row(job: BackboneJob, task: str, artefact_id: str, unlabelled: bool) -> dict:
    """A row of the table `task_backbones`."""
    folder = Path(job.home) / "models" / artefact_id
    about = {} if unlabelled else card(folder)
    return {
        "task": task,
        "backbone_id": None if unlabelled else artefact_id,
        "state": "left out: too few labels" if unlabelled else "trained",
        "labels": len(about.get("labels", ())),
        "photos": about.get("photos", 0),
        "loss_by_epoch": about.get("loss_by_epoch", []),
        "validation_score": about.get("validation_score"),
        "path": None if unlabelled else f"models/{artefact_id}",
    }


@dg.op(tags=GPU, pool="gpu")
def embed_photos(context: dg.OpExecutionContext, job: EmbeddingJob) -> pl.DataFrame:
    """Embed the dates' photos with every task's backbone, a file per date; one row per listing."""
    embedding_id = identity("embedding", EMBEDDING_VERSION, sorted(job.backbones.items()))
    made_by = {"backbones": job.backbones, "backbone_recipe": vars(job.recipe.backbone)}
    artefact(Path(job.home) / "embeddings", embedding_id, lambda folder: made_by)
    dates = {}
    for (day,), rows in job.rows.sort("listed_on", "listing_id").group_by("listed_on", maintain_order=True):
        name = f"{day}-{identity(embedding_id, rows['photo_hash'].to_list())}.safetensors"
        dates[f"embeddings/{embedding_id}/{name}"] = rows
    missing = {relative: rows for relative, rows in dates.items() if not (Path(job.home) / relative).exists()}
    if missing:
        embed_dates(context, job, missing)
    frames = [
        embedded_rows(relative, rows, load_quality(Path(job.home) / relative), embedding_id, job.backbones)
        for relative, rows in dates.items()
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def embed_dates(context: dg.OpExecutionContext, job: EmbeddingJob, dates: dict[str, pl.DataFrame]) -> None:
    """Embed the dates' photos in one stream, and write each date's file as soon as its last photo is through.

    Batches end with their date, so that a date's features do not depend on which others were missing.
    """
    from vps_ml.backbones.embedding import embedded, joined, load_extractors

    extractors = load_extractors(
        {task: Path(job.home) / folder for task, folder in job.backbones.items()}, job.recipe.backbone
    )
    chunks = {relative: in_batches([Path(path) for path in rows["photo_path"]]) for relative, rows in dates.items()}
    stream = embedded([chunk for date in chunks.values() for chunk in date], extractors)
    for relative, rows in dates.items():
        save_embeddings(Path(job.home) / relative, *joined(list(islice(stream, len(chunks[relative])))))
        context.log.info(f"{rows['listed_on'][0]}: {rows.height:,} photos embedded")


def embedded_rows(
    path: str, rows: pl.DataFrame, quality: np.ndarray, embedding_id: str, backbones: dict[str, str]
) -> pl.DataFrame:
    """A date's rows of the table `image_embeddings`."""
    return rows.select(
        "listing_id",
        "listed_on",
        pl.lit(embedding_id).alias("embedding_id"),
        pl.lit(path).alias("path"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.lit(list(backbones), dtype=pl.List(pl.String)).alias("tasks"),
        *(pl.Series(column, quality[:, i]) for i, column in enumerate(QUALITY_COLUMNS)),
    )
