"""The op that asks the champion about photos made worse on purpose."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.corruptions import CORRUPTIONS
from vps_ml.ops.backbones import GPU
from vps_ml.photos import open_photo
from vps_ml.recipes import BackboneRecipe
from vps_ml.store import card
from vps_ml.suggestions import Champion


@dataclass(frozen=True)
class CorruptionJob:
    """Test listings with statistics and photo_path; the champion's folder."""

    rows: pl.DataFrame
    champion: str
    home: str


def spoilt(paths: list[Path], folder: Path) -> Iterator[tuple[str, int, float | None, list[Path]]]:
    """(corruption, severity, strength, the photos' paths): as they are first, then each corruption, weakest first."""
    yield "none", 0, None, paths
    photos = [open_photo(path) for path in paths]
    for name, corruption in CORRUPTIONS.items():
        for severity, strength in enumerate(corruption.strengths, start=1):
            made = [folder / f"{name}-{severity}-{number}.png" for number in range(len(photos))]
            for photo, path in zip(photos, made, strict=True):
                corruption.apply(photo, strength).save(path, compress_level=1)
            yield name, severity, strength, made


@dg.op(tags=GPU, pool="gpu")
def judge_corrupted_photos(context: dg.OpExecutionContext, job: CorruptionJob) -> pl.DataFrame:
    """One row per listing, corruption and severity: the champion's qualification and price of the spoilt photo."""
    from vps_ml.embeddings import embed, load_extractors

    champion = Champion.load(Path(job.champion))
    made_by = card(Path(job.home) / "embeddings" / champion.embedding_id)
    trained = {task: Path(job.home) / path for task, path in made_by["backbones"].items()}
    tasks = champion.tasks(list(trained))
    extractors = load_extractors({task: trained[task] for task in tasks}, BackboneRecipe(**made_by["backbone_recipe"]))
    frames = []
    with TemporaryDirectory() as folder:
        for name, severity, strength, paths in spoilt([Path(p) for p in job.rows["photo_path"]], Path(folder)):
            features, _ = embed(paths, extractors)
            priced = champion.judge(np.concatenate([features[task] for task in tasks], axis=1), job.rows)
            judged = job.rows.select("listing_id").with_columns(
                corruption=pl.lit(name),
                severity=pl.lit(severity, dtype=pl.Int64),
                strength=pl.lit(strength, dtype=pl.Float64),
                qualification=pl.Series([p.qualification for p in priced]),
                model_id=pl.lit(champion.model_id),
            )
            frames.append(judged)
            context.log.info(f"{name}, severity {severity}: {len(paths)} photos judged")
    return pl.concat(frames)
