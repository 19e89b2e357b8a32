"""A drawn marketplace of any size, and the stand-ins for what only photos need: networks and their passes.

A photo's appearance is eight numbers that its hash gives. They move the item's worth, and the drawn features show them
through a fixed random layer, with noise: so price models have something to learn, and nobody has to decode a million
photos. The photo files are real, and land as any do: few pictures, each with a comment of its own.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
from PIL import Image
from scipy.special import ndtri

from vps_assets.demo.market import draw_item_of
from vps_assets.demo.photos import draw_photo

DAYS = 365
CATEGORIES, BRANDS, WORDS = 500, 60, 4_000
LISTINGS_A_SELLER = 20
PICTURES, PICTURE_PX = 100, 64
IN_A_FOLDER = 1_000
LATENT = 8
"""Numbers that an item's appearance is."""
NOISES = 4096
"""Of features, drawn once: each photo has one of them."""
RELISTED_SHARE, WITHDRAWN_SHARE, SAID_SHARE = 0.02, 0.15, 0.8
MEDIAN_DAYS = 12.0
"""Until a sale, at what the item is worth."""


def pictures(folder: Path) -> list[bytes]:
    """A few drawn items as small JPEGs."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(PICTURES):
        path = folder / f"picture{number}.jpg"
        path.write_bytes(draw_photo(draw_item_of(rng), None, (0, number)))
        with Image.open(path) as image:
            image.resize((PICTURE_PX, PICTURE_PX)).save(path, quality=85)
        found.append(path.read_bytes())
        path.unlink()
    return found


def commented(picture: bytes, number: int) -> bytes:
    """The JPEG with a comment, so that no two photos are the same."""
    comment = f"photo {number}".encode()
    return picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]


def latent(photo_hash: str) -> bytes:
    """The bytes of a hash that `appearance` reads."""
    return bytes.fromhex(photo_hash)[: 4 * LATENT]


def appearance(hashes: list[str]) -> np.ndarray:
    """(photo LATENT): standard normal numbers that the photos' hashes give."""
    raw = np.frombuffer(b"".join(latent(one) for one in hashes), dtype=">u4").reshape(len(hashes), LATENT)
    return ndtri((raw.astype(np.float64) + 0.5) / 2**32)


def write_photos(folder: Path, count: int) -> list[str]:
    """The photos' files, and their hashes."""
    drawn, hashes = pictures(folder), []
    for number in range(count):
        path = folder / photo_path(number)
        if number % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        data = commented(drawn[number % PICTURES], number)
        path.write_bytes(data)
        hashes.append(hashlib.sha256(data).hexdigest())
    return hashes


def photo_path(number: int) -> str:
    return f"images/{number // IN_A_FOLDER:04}/{number:07}.jpg"


def shares(count: int, power: float) -> np.ndarray:
    """Very unequal shares, as sellers and categories have."""
    weight = 1 / np.arange(1, count + 1) ** power
    return weight / weight.sum()


def sentences(rng: np.random.Generator, count: int, words: int) -> pl.Series:
    """So many words each, common ones often."""
    vocabulary = np.array([f"word{number}" for number in range(WORDS)])
    drawn = vocabulary[rng.choice(WORDS, (count, words), p=shares(WORDS, 0.9))]
    return pl.Series([" ".join(row) for row in drawn])


def drawn_market(folder: Path, count: int, last: date, seed: int = 0) -> pl.DataFrame:
    """`count` listings over `DAYS` days that end with `last`; their photos lie in `folder`."""
    rng = np.random.default_rng(seed)
    photo = np.arange(count)
    seller = rng.choice(count // LISTINGS_A_SELLER, count, p=shares(count // LISTINGS_A_SELLER, 0.8))
    again = np.flatnonzero((rng.random(count) < RELISTED_SHARE) & (photo > IN_A_FOLDER))
    photo[again] = (rng.random(len(again)) * again).astype(int)
    photo[again] = photo[photo[again]]
    hashes = np.array(write_photos(folder, count))
    seen = appearance(list(hashes[photo]))
    category, brand = rng.choice(CATEGORIES, count, p=shares(CATEGORIES, 0.6)), rng.choice(BRANDS, count)
    condition = rng.integers(0, 4, count)
    day = np.sort(rng.uniform(0, DAYS, count))
    worth = (
        rng.normal(3.5, 0.8, CATEGORIES)[category]
        + rng.normal(0, 0.3, BRANDS)[brand]
        - 0.2 * condition
        + rng.normal(0, 0.25, seller.max() + 1)[seller]
        + seen @ rng.normal(0, 0.2, LATENT)
        + 0.0003 * day
        + rng.normal(0, 0.3, count)
    )
    asked = rng.normal(0.08, 0.18, count)
    waits = rng.exponential(MEDIAN_DAYS / np.log(2), count) * np.exp(2 * asked)
    begin = datetime.combine(last, datetime.min.time(), UTC) - timedelta(days=DAYS - 1)
    listed_us = (day * 86_400e6).astype(np.int64)
    sold_us = listed_us + (waits * 86_400e6).astype(np.int64) + 1
    sells = (rng.random(count) >= WITHDRAWN_SHARE) & (sold_us < DAYS * 86_400_000_000)
    said = rng.random((count, 3)) < SAID_SHARE
    start = pl.lit(begin).dt.cast_time_unit("us")
    colours, sizes = [f"attribute{i}" for i in range(20)], [f"specification{i}" for i in range(12)]
    frame = pl.DataFrame(
        {
            "listing_id": [f"L{number:07}" for number in range(count)],
            "listed_us": listed_us,
            "category": [f"category{number:03}" for number in category],
            "image_path": [photo_path(number) for number in photo],
            "price": np.exp(worth + asked).round(2).clip(0.5),
            "sold_us": np.where(sells, sold_us, -1),
            "sold_price": np.exp(worth + 0.3 * asked.clip(None, 0)).round(2).clip(0.5),
            "seller_id": [f"S{number:06}" for number in seller],
            "brand": [f"brand{number:02}" for number in brand],
            "condition": np.array(["new", "good", "fair", "poor"])[condition],
            "colour": np.array(colours)[rng.integers(0, 20, count)],
            "pattern": np.array(colours)[rng.integers(0, 20, count)],
            "size": np.array(sizes)[rng.integers(0, 12, count)],
            "title": sentences(rng, count, 5),
            "description": sentences(rng, count, 12),
        }
    )
    sold = pl.col("sold_us") >= 0
    return frame.select(
        "listing_id",
        (start + pl.duration(microseconds="listed_us")).alias("listed_at"),
        "category",
        "image_path",
        "price",
        pl.when(sold).then(start + pl.duration(microseconds="sold_us")).alias("sold_at"),
        pl.when(sold).then("sold_price").alias("sold_price"),
        pl.lit("EUR").alias("currency"),
        "seller_id",
        pl.when(pl.Series(said[:, 0])).then("brand").alias("brand"),
        pl.when(pl.Series(said[:, 1])).then(pl.concat_list("colour", "pattern").list.unique()).alias("attributes"),
        pl.when(pl.Series(said[:, 2])).then(pl.concat_list("size")).alias("specifications"),
        "condition",
        "title",
        "description",
    )


def features_of(hashes: list[str], tasks: list[str], width: int) -> dict[str, np.ndarray]:
    """Task -> drawn second-last-layer features of photos, half precision: what the items look like, and noise.

    A photo's are the same whatever file they are written to, as those of networks are.
    """
    look, own = appearance(hashes).astype(np.float32), [int(one[-8:], 16) % NOISES for one in hashes]
    found = {}
    for number, task in enumerate(tasks):
        layer, noise = layer_and_noise(number, width)
        found[task] = np.maximum(look @ layer + 0.5 * noise[own], 0).astype(np.float16)
    return found


@cache
def layer_and_noise(task: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(what makes features of looks, the noises that there are), both drawn."""
    rng = np.random.default_rng(task)
    layer = rng.normal(0, 1 / np.sqrt(LATENT), (LATENT, width)).astype(np.float32)
    return layer, rng.standard_normal((NOISES, width), dtype=np.float32)


@contextmanager
def drawn_photos() -> Iterator[None]:
    """Networks stay as they start, and features are drawn; everything else is what users run."""
    from vps_ml.backbones import embedding, training
    from vps_ml.backbones.files import save_embeddings
    from vps_ml.backbones.labels import distinct_labels
    from vps_ml.backbones.networks import resnet
    from vps_ml.ops import backbones
    from vps_ml.training_loop import weights

    def untrained(most, task, source, labels, recipe, seed, session):  # type: ignore[no-untyped-def]
        state = weights(resnet(recipe.architecture, recipe.start, seed))
        return training.TrainedBackbone(state, (), 0.0, 1.0, [1.0], 0.5, distinct_labels(task, labels))

    def drawn(job: backbones.MissingDates, log: object) -> None:
        extractors = embedding.load_extractors(job.backbones, job.recipe, job.artefacts)
        width = 512 if job.recipe.architecture != "resnet50" else 2048
        for path, rows in job.dates.items():
            features = features_of(rows["photo_hash"].to_list(), list(extractors.stages), width)
            quality = np.tile(np.array([0.6, 0.5, 0.2, 0.01]), (rows.height, 1))
            save_embeddings(job.artefacts.root / path, features, quality)

    with ExitStack() as stack:
        stack.enter_context(patch.object(training, "photo_source", lambda *arguments: None))
        stack.enter_context(patch.object(training, "train_in_ranks", untrained))
        stack.enter_context(patch.object(backbones, "embed_dates", drawn))
        yield


def disk_mib(path: Path) -> float:
    """What files take, in whole blocks, as the disk counts."""
    files = [path] if path.is_file() else [Path(top) / name for top, _, names in os.walk(path) for name in names]
    return sum(file.stat().st_blocks for file in files) * 512 / 2**20
