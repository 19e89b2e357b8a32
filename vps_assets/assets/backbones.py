"""A backbone per task."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options
from vps_assets.report.figures import loss_curves
from vps_assets.tables.splits import with_roles
from vps_assets.warehouse.io_manager import Settings
from vps_ml.ops.backbones import BackboneJob, train_task_backbones

LABELS = {
    "category": "category",
    "brand": "brand",
    "attribute": "attributes",
    "specification": "specifications",
    "price": "log_price",
}


def training_photos(clean_listings: pl.DataFrame) -> pl.DataFrame:
    """The listings that backbones learn from: in training in the split by group and in the split by time.

    So the test rows of either split are new to the backbones, photos and labels both.
    """
    rows = with_roles(clean_listings).filter(pl.col("group_role") == "train", pl.col("time_role") == "train")
    return rows.sort("listing_id").select(
        "group_key", "photo_hash", **{task: pl.col(label) for task, label in LABELS.items()}
    )


@dg.op
def backbone_job(context: dg.OpExecutionContext, settings: Settings, clean_listings: pl.DataFrame) -> BackboneJob:
    """The training photos and labels of the run's tasks."""
    rows = training_photos(clean_listings)
    if rows.is_empty():
        raise dg.Failure("No sold listing is in training: materialise clean_listings first, or land more listings.")
    paths = [str(settings.at.photo(photo_hash)) for photo_hash in rows["photo_hash"]]
    context.log.info(f"{rows.height:,} training photos for {', '.join(context.partition_keys)}")
    photos = rows.with_columns(photo_path=pl.Series(paths))
    return BackboneJob(photos, tuple(context.partition_keys), settings.recipe, settings.home)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_backbones(context: dg.OpExecutionContext, trained: pl.DataFrame) -> pl.DataFrame:
    """Write the backbones' rows, with their loss curves."""
    curves = {row["task"]: row["loss_by_epoch"] for row in trained.to_dicts() if row["loss_by_epoch"]}
    scores = {f"{row['task']} score": str(row["validation_score"]) for row in trained.to_dicts()}
    context.add_output_metadata({**scores, "loss": loss_curves(curves)})
    return trained


@dg.graph_asset(**graph_options("task_backbones", "features", {"pytorch", "duckdb"}))
def task_backbones(clean_listings: pl.DataFrame) -> pl.DataFrame:
    """One ResNet per task, trained alone to predict its label from the photo; `price` is the STFE baseline's.

    Partition: the task. A task that too few listings have a label for is left out, and says so in `state`.
    """
    return record_backbones(train_task_backbones(backbone_job(clean_listings)))
