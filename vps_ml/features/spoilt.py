"""Copies of training photos, made worse on purpose: a gate learns from them what a bad photo does to a price."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import polars as pl
from PIL import Image

from vps_ml.artefacts import Artefacts
from vps_ml.atomic import temporary_folder
from vps_ml.backbones.embedding import FeatureExtractors, embed, joined
from vps_ml.backbones.tasks import VISUAL_TASKS
from vps_ml.cards import Contents, identity
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import FeatureMatrix, MatrixRows
from vps_ml.features.others import extractors_of
from vps_ml.features.roles import ITEM, LEARNT, SERVED_SPLIT, SPLIT_KINDS
from vps_ml.features.scaling import FeatureMap
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk

SHARE = 0.2
"""Of the training photos: a sixth of what the gate learns from is copies (docs/adr/0021)."""
MOST_COPIES = 4000
AT_ONCE = 512
"""Photos that are made worse at a time."""
FEATURES = "features"
CODE_VERSION = "1"
"""Part of the copies' id: raise it when a kind of corruption is computed otherwise."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Draw:
    """What becomes of a photo: read off its hash, so that it is the same whatever else has landed."""

    place: float
    """0 to 1; those below `SHARE` get a copy."""
    corruption: str
    strength: float

    @classmethod
    def of(cls, photo_hash: str) -> "Draw":
        """The draw of a photo."""
        digest = hashlib.sha256(f"spoilt {photo_hash}".encode()).digest()
        kind, severity = digest[8] % len(CORRUPTIONS), digest[9]
        name = list(CORRUPTIONS)[kind]
        strengths = CORRUPTIONS[name].strengths
        place = int.from_bytes(digest[:8], "big") / 2**64
        return cls(place, name, strengths[severity % len(strengths)])

    def spoil(self, photo: Image.Image) -> Image.Image:
        """The photo, made worse."""
        return CORRUPTIONS[self.corruption].apply(photo, strength=self.strength)


def chosen(rows: pl.DataFrame) -> pl.DataFrame:
    """The items, columns `ITEM`, whose photo gets a copy: what trains in any split, each photo once, `MOST_COPIES`."""
    trains = pl.any_horizontal(pl.col(f"{kind}_role") == "train" for kind in (*SPLIT_KINDS, SERVED_SPLIT))
    photos = rows.filter(trains).select(ITEM).sort(ITEM).unique("photo_hash", keep="first", maintain_order=True)
    place = pl.Series([Draw.of(photo_hash).place for photo_hash in photos["photo_hash"]], dtype=pl.Float64)
    return photos.with_columns(place=place).filter(pl.col("place") < SHARE).sort("place").head(MOST_COPIES).select(ITEM)


def copies_of(
    items: pl.DataFrame, extractors: FeatureExtractors, artefacts: Artefacts
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(numbers of the items whose photo could be decoded, their copies' features by every network)."""
    made, parts = [], []
    for start in range(0, items.height, AT_ONCE):
        paths = []
        with temporary_folder(artefacts.root, "spoilt") as folder:
            for number, photo_hash in enumerate(items["photo_hash"][start : start + AT_ONCE], start=start):
                with suppress(ValueError):
                    photo = shrunk(artefacts.photo(photo_hash), 2 * extractors.photo_px)
                    Draw.of(photo_hash).spoil(photo).save(folder / f"{number}.png", compress_level=1)
                    made.append(number)
                    paths.append(folder / f"{number}.png")
            if paths:
                parts.append(embed(paths, extractors))
    return np.array(made, dtype=np.int64), joined(parts)[0] if parts else {}


def stored_copies(dataset: PricingDataset, tell: Tell) -> str | None:
    """The id of an artefact with the copies of the dataset's photos; None if no photo is there."""
    artefacts, embedding_id = dataset.artefacts, dataset.embedding_id
    every = chosen(dataset.rows)
    items = every.filter(
        pl.Series([photo.exists() for photo in artefacts.photos(every["photo_hash"])], dtype=pl.Boolean)
    )
    if items.is_empty():
        return None
    draws = [vars(Draw.of(photo_hash)) for photo_hash in items["photo_hash"]]
    copies_id = identity("spoilt_copies", CODE_VERSION, embedding_id, items.rows(), draws)

    def fill() -> Contents:
        tell(f"copies of {items.height:,} photos are made worse on purpose, for the gate to learn from")
        made, features = copies_of(items, extractors_of(embedding_id, artefacts), artefacts)
        left_out = every.height - len(made)
        tell(
            f"{len(made):,} copies of photos, made worse for the gate to learn from, are embedded"
            + (f"; {left_out:,} are gone or cannot be decoded" if left_out else "")
        )
        return Contents({"kind": "spoilt_copies"}, arrays={FEATURES: features}, frames={LEARNT: items[made]})

    return artefacts.models.make(copies_id, fill)


def training_copies(
    dataset: PricingDataset, features: str, split_kind: str, tell: Tell
) -> tuple[np.ndarray, MatrixRows] | None:
    """(numbers of training rows with a worse copy, the copies as price networks take them); None without any.

    A copy has its listing's statistics and labels, only the photo is another: where no network's features are seen,
    there is nothing to learn from it. Of a photo in several listings the first one that trains has the copy.
    """
    tasks = [task for task in VISUAL_TASKS[features] if task in dataset.rows["tasks"][0]]
    copies_id = stored_copies(dataset, tell) if tasks else None
    if copies_id is None:
        return None
    made = dataset.artefacts.models.frame(copies_id, LEARNT)
    assert made is not None, f"{copies_id} does not say which photos it is of"
    train = dataset.role(split_kind, "train")
    numbered = dataset.rows[train].select("photo_hash").with_columns(number=pl.Series(train))
    first = numbered.unique("photo_hash", keep="first", maintain_order=True)
    both = first.join(made.select("photo_hash").with_row_index("place"), on="photo_hash", maintain_order="left")
    if both.is_empty():
        return None
    visual = dataset.artefacts.models.arrays(copies_id, FEATURES)
    block = np.concatenate([visual[task] for task in tasks], axis=1)[both["place"].to_numpy()]
    map_id, _ = dataset.matrix(features, split_kind)
    feature_map = FeatureMap.load(dataset.artefacts, map_id)
    numbers, every = both["number"].to_numpy(), np.arange(both.height)
    words = [(every, dataset.words_of(numbers))] if feature_map.words is not None else []
    rows, scratch = dataset.rows[numbers], dataset.artefacts.root
    matrix = FeatureMatrix.assembled(feature_map, [(every, block)], rows, scratch, words)
    return numbers, matrix.rows(every)
