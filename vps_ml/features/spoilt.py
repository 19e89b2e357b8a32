"""Copies of training photos, made worse on purpose: a gate learns from them what a bad photo does to a price."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import polars as pl
from PIL import Image

from vps_ml.artefacts import Artefacts, Contents, identity
from vps_ml.atomic import temporary_folder
from vps_ml.backbones.embedding import FeatureExtractors, embed, joined, load_extractors
from vps_ml.backbones.tasks import VISUAL_TASKS
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import FeatureMatrix, MatrixRows
from vps_ml.features.roles import ITEM, LEARNT, SERVED_SPLIT, SPLIT_KINDS, backbones_of
from vps_ml.features.scaling import FeatureMap
from vps_ml.photos.corruptions import CORRUPTIONS, shrunk
from vps_ml.recipes import BackboneRecipe

SHARE = 0.2
"""Of the training photos: a sixth of what the gate learns from is copies (docs/adr/0021)."""
MOST_COPIES = 4000
AT_ONCE = 512
"""Photos that are made worse at a time."""
FEATURES = "features"
CODE_VERSION = "1"
"""Part of the copies' id: raise it when a photo would be made worse in another way."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Draw:
    """What becomes of a photo: read off its hash, so that it is the same whatever else has landed."""

    place: float
    """0 to 1; those below `SHARE` get a copy."""
    corruption: str
    severity: int

    @classmethod
    def of(cls, photo_hash: str) -> "Draw":
        """The draw of a photo."""
        digest = hashlib.sha256(f"spoilt {photo_hash}".encode()).digest()
        kind, severity = digest[8] % len(CORRUPTIONS), digest[9]
        name = list(CORRUPTIONS)[kind]
        place = int.from_bytes(digest[:8], "big") / 2**64
        return cls(place, name, 1 + severity % len(CORRUPTIONS[name].strengths))

    def spoil(self, photo: Image.Image) -> Image.Image:
        """The photo, made worse."""
        corruption = CORRUPTIONS[self.corruption]
        return corruption.apply(photo, strength=corruption.strengths[self.severity - 1])


def chosen(rows: pl.DataFrame) -> pl.DataFrame:
    """The items, columns `ITEM`, whose photo gets a copy: what trains in any split, each photo once, `MOST_COPIES`."""
    trains = pl.any_horizontal(pl.col(f"{kind}_role") == "train" for kind in (*SPLIT_KINDS, SERVED_SPLIT))
    photos = rows.filter(trains).select(ITEM).unique("photo_hash", keep="first", maintain_order=True)
    place = pl.Series([Draw.of(photo_hash).place for photo_hash in photos["photo_hash"]], dtype=pl.Float64)
    return photos.with_columns(place=place).filter(pl.col("place") < SHARE).sort("place").head(MOST_COPIES).select(ITEM)


def spoilt(photo_hashes: Sequence[str], artefacts: Artefacts, side_px: int) -> Iterator[tuple[int, Image.Image]]:
    """(number of the photo, its copy made worse) of those that are there and can be decoded."""
    for number, photo_hash in enumerate(photo_hashes):
        with suppress(ValueError, OSError):
            yield number, Draw.of(photo_hash).spoil(shrunk(artefacts.photo(photo_hash), side_px))


def copies_of(
    items: pl.DataFrame, extractors: FeatureExtractors, artefacts: Artefacts, tell: Tell
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(numbers of the items that have a copy, the copies' features by every network)."""
    made, parts = [], []
    for start in range(0, items.height, AT_ONCE):
        part = items["photo_hash"][start : start + AT_ONCE].to_list()
        with temporary_folder(artefacts.root, "spoilt") as folder:
            paths = []
            for number, photo in spoilt(part, artefacts, 2 * extractors.photo_px):
                made.append(start + number)
                paths.append(folder / f"{number}.png")
                photo.save(paths[-1], compress_level=1)
            if paths:
                parts.append(embed(paths, extractors))
    tell(f"{len(made):,} photos made worse and embedded, for the gate to learn from")
    return np.array(made, dtype=np.int64), joined(parts)[0] if parts else {}


def stored_copies(dataset: PricingDataset, tell: Tell) -> str | None:
    """The id of an artefact with the copies of the dataset's photos; None if no photo is there."""
    artefacts, embedding_id = dataset.artefacts, dataset.embedding_id
    items = chosen(dataset.rows)
    if not any(artefacts.photo(photo_hash).exists() for photo_hash in items["photo_hash"]):
        return None
    copies_id = identity("spoilt_copies", CODE_VERSION, embedding_id, items["photo_hash"].to_list())

    def fill() -> Contents:
        recipe = BackboneRecipe(**artefacts.embeddings.card(embedding_id)["backbone_recipe"])
        extractors = load_extractors(backbones_of(artefacts, embedding_id), recipe, artefacts)
        made, features = copies_of(items, extractors, artefacts, tell)
        return Contents({"kind": "spoilt_copies"}, arrays={FEATURES: features}, frames={LEARNT: items[made]})

    return artefacts.models.make(copies_id, fill)


def training_copies(
    dataset: PricingDataset, features: str, split_kind: str, tell: Tell
) -> tuple[np.ndarray, MatrixRows] | None:
    """(numbers of training rows that have a worse copy, the copies as price networks take them); None without any.

    A copy has its listing's statistics and labels: only the photo is another.
    """
    copies_id = stored_copies(dataset, tell)
    if copies_id is None:
        return None
    made = dataset.artefacts.models.frame(copies_id, LEARNT)
    assert made is not None, f"{copies_id} does not say which photos it is of"
    train = dataset.role(split_kind, "train")
    numbered = dataset.rows[train].select("photo_hash").with_columns(number=pl.Series(train))
    place = made.select("photo_hash").with_row_index("place")
    both = numbered.join(place, on="photo_hash", maintain_order="left")
    if both.is_empty():
        return None
    visual = dataset.artefacts.models.arrays(copies_id, FEATURES)
    tasks = [task for task in VISUAL_TASKS[features] if task in visual]
    block = np.concatenate([visual[task] for task in tasks], axis=1)[both["place"].to_numpy()]
    map_id, _ = dataset.matrix(features, split_kind)
    feature_map = FeatureMap.load(dataset.artefacts, map_id)
    numbers, every = both["number"].to_numpy(), np.arange(both.height)
    matrix = FeatureMatrix.assembled(feature_map, [(every, block)], dataset.rows[numbers], dataset.artefacts.root)
    return numbers, matrix.rows(every)
