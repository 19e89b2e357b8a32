"""Photos as numbers: one decode and one pass for all tasks."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options
from vps_assets.warehouse.io_manager import Settings
from vps_ml.ops.backbones import EmbeddingJob, embed_photos
from vps_ml.photos.decoding import QUALITY_COLUMNS


@dg.op
def embedding_job(
    context: dg.OpExecutionContext, settings: Settings, clean_listings: pl.DataFrame, task_backbones: pl.DataFrame
) -> EmbeddingJob:
    """The run's photos and the trained backbones."""
    trained = task_backbones.filter(pl.col("path").is_not_null()).sort("task")
    if trained.is_empty():
        raise dg.Failure("No backbone is trained: materialise task_backbones first.")
    paths = [str(settings.at.photo(photo_hash)) for photo_hash in clean_listings["photo_hash"]]
    rows = clean_listings.select("listing_id", "listed_on", "photo_hash").with_columns(photo_path=pl.Series(paths))
    context.log.info(f"{rows.height:,} photos, {trained.height} backbones: {', '.join(trained['task'])}")
    return EmbeddingJob(rows, dict(trained.select("task", "path").iter_rows()), settings.recipe, settings.home)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_embeddings(context: dg.OpExecutionContext, embedded: pl.DataFrame) -> pl.DataFrame:
    """Write where each listing's features are, and its photo's quality."""
    if embedded.height:
        context.add_output_metadata({f"median {name}": embedded[name].median() for name in QUALITY_COLUMNS})
    return embedded


@dg.graph_asset(**graph_options("image_embeddings", "features", {"pytorch", "duckdb"}))
def image_embeddings(clean_listings: pl.DataFrame, task_backbones: pl.DataFrame) -> pl.DataFrame:
    """Second-last-layer features of every task, in half precision, one immutable file per listing date.

    The table says in which file and row a listing's features are, and how sharp and bright its photo is.
    Key: `listing_id`. Partition: `listed_on`, a UTC day.
    """
    return record_embeddings(embed_photos(embedding_job(clean_listings, task_backbones)))
