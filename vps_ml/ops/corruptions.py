"""The op in which the champion judges photos that were made worse on purpose."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
from PIL import Image

from vps_ml.atomic import temporary_folder
from vps_ml.ops import GPU_POOL, GPU_TAGS
from vps_ml.ops.suggestions import ChampionJob
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk
from vps_ml.photos.quality import QUALITY_COLUMNS


@dataclass(frozen=True)
class CorruptedPhotos:
    """The same photos at one severity of one corruption."""

    corruption: str
    """`none`: the photos as they are."""
    severity: int
    strength: float | None
    """See `vps_ml.photos.corruptions`; None for the photos as they are."""
    paths: list[Path]


def corrupted(photos: Sequence[Image.Image], folder: Path) -> Iterator[CorruptedPhotos]:
    """The photos as they are first, then each corruption, weakest first.

    The files of one severity are overwritten by those of the next.
    """
    paths = [folder / f"{number}.png" for number in range(len(photos))]

    def written(change: Callable[[Image.Image], Image.Image]) -> list[Path]:
        for photo, path in zip(photos, paths, strict=True):
            change(photo).save(path, compress_level=1)
        return paths

    yield CorruptedPhotos("none", 0, None, written(lambda photo: photo))
    for name, corruption in CORRUPTIONS.items():
        for severity, strength in enumerate(corruption.strengths, start=1):
            yield CorruptedPhotos(name, severity, strength, written(partial(corruption.apply, strength=strength)))


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def judge_corrupted_photos(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per listing, corruption and severity: the champion's qualification of the photo."""
    from vps_ml.pricing.predictor import Predictor

    if job.rows.is_empty():
        return pl.DataFrame()
    champion = Predictor.load(job.artefacts, job.champions["photo"])
    extractors = champion.extractors()
    photos = [shrunk(photo, 2 * extractors.photo_px) for photo in job.artefacts.photos(job.rows["photo_hash"])]
    frames = []
    with temporary_folder(job.artefacts.root, "corruptions") as folder:
        for worse in corrupted(photos, folder):
            visual, quality = champion.embedded(worse.paths, extractors)
            contrast = quality[:, QUALITY_COLUMNS.index("contrast")]
            predicted = champion.predict(visual, job.rows, contrast=contrast)
            frames.append(
                job.rows.select("listing_id").with_columns(
                    corruption=pl.lit(worse.corruption),
                    severity=pl.lit(worse.severity, dtype=pl.Int64),
                    strength=pl.lit(worse.strength, dtype=pl.Float64),
                    qualification=pl.Series([p.qualification for p in predicted]),
                    model_id=pl.lit(champion.model_id),
                )
            )
            context.log.info(f"{worse.corruption}, severity {worse.severity}: {len(worse.paths)} photos judged")
    return pl.concat(frames)
