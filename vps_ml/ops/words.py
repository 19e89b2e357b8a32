"""The op that reads what sellers say."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.cards import identity
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.recipes import Recipe
from vps_ml.words.masking import said_and_prices

if TYPE_CHECKING:
    from vps_ml.words.files import WordFeatures
    from vps_ml.words.reading import Reader


@dataclass(frozen=True)
class WordsJob:
    """Input of the reading: rows with listing_id, listed_on, title and description."""

    rows: pl.DataFrame
    recipe: Recipe
    artefacts: Artefacts


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def read_words(context: dg.OpExecutionContext, job: WordsJob) -> pl.DataFrame:
    """Read the dates' words, a file per date, but those that a file of the date has; one row per listing."""
    from vps_ml.words.files import save_words
    from vps_ml.words.reading import Reader, reader_id

    artefacts = job.artefacts
    text_id = reader_id(job.recipe.words, artefacts)
    reader, frames, read = Reader(artefacts, text_id), [], 0
    for (day,), rows in job.rows.sort("listed_on", "listing_id").group_by("listed_on", maintain_order=True):
        heard = [said_and_prices(*parts) for parts in rows.select("title", "description").iter_rows()]
        texts = [text for text, _ in heard]
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        path = artefacts.embedding_path(text_id, str(day), identity(text_id, hashes))
        if not artefacts.embedding_file(path).exists():
            words, new = words_of_date(artefacts.root / path, hashes, texts, reader)
            save_words(artefacts.root / path, words, hashes)
            read += new
        frames.append(words_rows(path, rows, heard, text_id))
    artefacts.share_embeddings({path for frame in frames for path in frame["path"].unique()})
    how = "hashed words" if reader.encoder_id is None else f"hashed words and the encoder {reader.encoder_id}"
    context.log.info(f"{read:,} listings read, {job.rows.height - read:,} as they were: {how}")
    return pl.concat(frames) if frames else pl.DataFrame()


def words_of_date(
    path: Path, hashes: Sequence[str], texts: Sequence[str], reader: "Reader"
) -> "tuple[WordFeatures, int]":
    """(a date's words, how many of them had to be read): earlier files of the date have the others.

    Args:
        path: of the file that is to be written.
        hashes: the texts' SHA-256.
        texts: with their prices masked.
        reader: reads those that no earlier file has.
    """
    from vps_ml.backbones.files import in_order, taken_over, without
    from vps_ml.words.files import as_words, stacked

    parts = [(as_words(arrays), rows) for arrays, rows in taken_over(path, hashes)]
    new = without(hashes, [rows for _, rows in parts])
    if new:
        text_of = dict(zip(hashes, texts, strict=True))
        parts.append((reader.read([text_of[one] for one in new]), {one: row for row, one in enumerate(new)}))
    chosen = stacked([words.rows(np.array(list(rows.values()))) for words, rows in parts])
    return chosen.rows(in_order(hashes, [rows for _, rows in parts])), len(new)


def words_rows(path: str, rows: pl.DataFrame, heard: Sequence[tuple[str, int]], text_id: str) -> pl.DataFrame:
    """A date's rows of the table `text_embeddings`; of each what is said and how many prices were masked in it."""
    return rows.select(
        "listing_id",
        "listed_on",
        pl.lit(text_id).alias("text_id"),
        pl.lit(path).alias("path"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.Series("words", [len(text.split()) for text, _ in heard], dtype=pl.Int64),
        pl.Series("price_masked", [prices > 0 for _, prices in heard], dtype=pl.Boolean),
    )
