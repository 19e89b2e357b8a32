"""A backbone per task."""

import dagster as dg
import polars as pl

from vps_assets.assets.features import sold_listings
from vps_assets.assets.options import WAREHOUSE, WRITER, only, op_chain
from vps_assets.report.figures import loss_curves
from vps_assets.tables.schemas import check_labels
from vps_assets.tables.splits import OF_ROLES
from vps_assets.warehouse.settings import Settings
from vps_ml.backbones.tasks import TASKS
from vps_ml.ops.backbones import BackboneJob, train_task_backbones
from vps_ml.recipes import Recipe

check_labels(TASKS)


LABELS = {name: task.label for name, task in TASKS.items()}


def training_photos(clean_listings: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The listings that backbones are trained on: in training in the split by group and in the split by time.

    So the test rows of either split are new to the backbones, photos and labels both. Of more sold listings than the
    recipe's `most_sold`, those of a sample by the hash by which price models take theirs (docs/adr/0030).
    """
    both = pl.col("group_role") == "train", pl.col("time_role") == "train"
    labels = {name: pl.col(label) for name, label in LABELS.items()}
    return (
        sold_listings(clean_listings, clean_listings, recipe).filter(*both).select("group_key", "photo_hash", **labels)
    )


@dg.op(ins={"clean_listings": dg.In(metadata=only(*dict.fromkeys((*OF_ROLES, *LABELS.values()))))})
def backbone_job(context: dg.OpExecutionContext, settings: Settings, clean_listings: pl.DataFrame) -> BackboneJob:
    """The training photos and labels of the run's tasks."""
    rows = training_photos(clean_listings, settings.recipe)
    if rows.is_empty():
        raise dg.Failure("No sold listing is in training: materialise clean_listings first, or land more listings.")
    context.log.info(f"{rows.height:,} training photos for {', '.join(context.partition_keys)}")
    return BackboneJob(rows, tuple(context.partition_keys), settings.recipe, settings.artefacts, settings.executor)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_backbones(context: dg.OpExecutionContext, trained: pl.DataFrame) -> pl.DataFrame:
    """Write the backbones' rows, with their loss curves."""
    curves = {row["task"]: row["loss_by_epoch"] for row in trained.to_dicts() if row["loss_by_epoch"]}
    context.add_output_metadata({"loss of the run's tasks": loss_curves(curves)})
    return trained


task_backbones = op_chain(
    "task_backbones",
    "features",
    """One ResNet per task, trained alone to predict its label from the photo; `price` is the STFE baseline's.

Partition: the task. A task that too few listings have a label for is left out, with the reason in `state`.""",
    [backbone_job, train_task_backbones, record_backbones],
)
