"""Photos and words as numbers: one decode and one pass for all tasks, one reading for all models."""

import dagster as dg
import polars as pl

from vps_assets.assets.options import WAREHOUSE, WRITER, only, op_chain
from vps_assets.warehouse.settings import Settings
from vps_ml.ops.backbones import EmbeddingJob, embed_photos
from vps_ml.ops.words import WordsJob, read_words

PHOTOS = ("listing_id", "listed_on", "photo_hash")
WORDS = ("listing_id", "listed_on", "title", "description")


@dg.op(ins={"clean_listings": dg.In(metadata=only(*PHOTOS))})
def embedding_job(
    context: dg.OpExecutionContext, settings: Settings, clean_listings: pl.DataFrame, task_backbones: pl.DataFrame
) -> EmbeddingJob:
    """The run's photos and the trained backbones."""
    trained = task_backbones.filter(pl.col("backbone_id").is_not_null()).sort("task")
    if trained.is_empty():
        raise dg.Failure("No backbone is trained: materialise task_backbones first.")
    context.log.info(f"{clean_listings.height:,} photos, {trained.height} backbones: {', '.join(trained['task'])}")
    backbones = dict(trained.select("task", "backbone_id").iter_rows())
    return EmbeddingJob(clean_listings, backbones, settings.recipe, settings.artefacts, settings.executor)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_embeddings(embedded: pl.DataFrame) -> pl.DataFrame:
    """Write which file has each listing's features, and its photo's quality."""
    return embedded


image_embeddings = op_chain(
    "image_embeddings",
    "features",
    """Second-last-layer features of every task, in half precision, one immutable file per listing date.

The table names the file and row of a listing's features, and has its photo's sharpness and exposure.
Key: `listing_id`. Partition: `listed_on`, a UTC day.""",
    [embedding_job, embed_photos, record_embeddings],
)


@dg.op(ins={"clean_listings": dg.In(metadata=only(*WORDS))})
def words_job(settings: Settings, clean_listings: pl.DataFrame) -> WordsJob:
    """What the sellers of the run's listings say."""
    return WordsJob(clean_listings, settings.recipe, settings.artefacts)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_words(read: pl.DataFrame) -> pl.DataFrame:
    """Write which file has each listing's words; never the words themselves."""
    return read


text_embeddings = op_chain(
    "text_embeddings",
    "features",
    """Titles and descriptions: prices masked, words hashed, sentences encoded where the recipe has an encoder.

One immutable file per listing date; the table names the file and row of a listing's words.
Key: `listing_id`. Partition: `listed_on`, a UTC day.""",
    [words_job, read_words, record_words],
    {"duckdb", "scikitlearn"},
)
