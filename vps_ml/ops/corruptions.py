"""The op that asks the champion about photos made worse on purpose."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
from PIL import Image

from vps_ml.artefacts import temporary_folder
from vps_ml.ops.backbones import GPU
from vps_ml.ops.suggestions import ChampionJob
from vps_ml.photos.corruptions import CORRUPTIONS
from vps_ml.photos.decoding import open_photo
from vps_ml.pricing.predictor import Champion


def shrunk(path: Path, side_px: int) -> Image.Image:
    """The photo, no side longer than `side_px`: a phone's photo is fifty times what the networks see."""
    photo = open_photo(path)
    photo.thumbnail((side_px, side_px))
    return photo


def corrupted(photos: Sequence[Image.Image], folder: Path) -> Iterator[tuple[str, int, float | None, list[Path]]]:
    """(corruption, severity, strength, the photos' paths): as they are first, then each corruption, weakest first.

    The files of one severity are overwritten by those of the next.
    """
    paths = [folder / f"{number}.png" for number in range(len(photos))]

    def written(change: Callable[[Image.Image], Image.Image]) -> list[Path]:
        for photo, path in zip(photos, paths, strict=True):
            change(photo).save(path, compress_level=1)
        return paths

    yield "none", 0, None, written(lambda photo: photo)
    for name, corruption in CORRUPTIONS.items():
        for severity, strength in enumerate(corruption.strengths, start=1):
            yield name, severity, strength, written(partial(corruption.apply, strength=strength))


@dg.op(tags=GPU, pool="gpu")
def judge_corrupted_photos(context: dg.OpExecutionContext, job: ChampionJob) -> pl.DataFrame:
    """One row per listing, corruption and severity: the champion's qualification of the photo."""
    if job.rows.is_empty():
        return pl.DataFrame()
    champion = Champion.load(Path(job.champion))
    extractors, side_px = champion.extractors(Path(job.home))
    photos = [shrunk(Path(job.home) / path, 2 * side_px) for path in job.rows["photo_path"]]
    frames = []
    with temporary_folder(Path(job.home), "corruptions") as folder:
        for name, severity, strength, paths in corrupted(photos, folder):
            visual, _ = champion.features_of(paths, extractors)
            judged = job.rows.select("listing_id").with_columns(
                corruption=pl.lit(name),
                severity=pl.lit(severity, dtype=pl.Int64),
                strength=pl.lit(strength, dtype=pl.Float64),
                qualification=pl.Series([p.qualification for p in champion.judge(visual, job.rows)]),
                model_id=pl.lit(champion.model_id),
            )
            frames.append(judged)
            context.log.info(f"{name}, severity {severity}: {len(paths)} photos judged")
    return pl.concat(frames)
