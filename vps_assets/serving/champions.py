"""The models that price, each loaded when it is first needed, with its networks and the sold items as it sees them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import champion_of, served_in_force
from vps_assets.errors import NoChampion, UserError, one_line
from vps_assets.serving.offers import Offer, not_taken
from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.backbones.embedding import FeatureExtractors, network_features
from vps_ml.backbones.heads import CATEGORY, CategoryHead
from vps_ml.features.roles import backbones_of
from vps_ml.photos.decoding import decoded, refuse_shape
from vps_ml.photos.quality import PhotoQuality
from vps_ml.pricing.predictor import Predictor
from vps_ml.pricing.sold_items import SoldItems
from vps_ml.stores import DamagedArtefact

log = logging.getLogger("vps")
Features = Mapping[str, np.ndarray]
"""Networks' features of photos, by task."""


@dataclass(frozen=True)
class Champion:
    """A loaded price model, and the networks that its photos go through."""

    inputs: str
    predictor: Predictor
    extractors: FeatureExtractors | None
    """None: it takes no photo."""
    head: CategoryHead | None = None
    """None: its photos are not seen by a category backbone."""
    items: SoldItems | None = None
    """What had sold, as it sees it; None: there are none."""
    items_path: str | None = None


class Champions:
    """The champions of one publication.

    Args:
        artefacts: of the data directory.
        in_force: `champion_model`.
        items: `comparable_items`.
        before: of an earlier publication, whose loaded models serve on where they are still champions.
    """

    def __init__(
        self, artefacts: Artefacts, in_force: pl.DataFrame, items: pl.DataFrame, before: "Champions | None"
    ) -> None:
        self.artefacts = artefacts
        self.in_force = in_force
        self.items = items
        self.loaded: dict[str, Champion] = {}
        self._before = before

    def alone(self) -> None:
        """Forget those before: what they had loaded and these do not need is freed."""
        self._before = None

    def model_ids(self) -> dict[str, str]:
        """Inputs -> the model that prices by them, of those that are loaded."""
        return {inputs: champion.predictor.model_id for inputs, champion in self.loaded.items()}

    def known(self) -> list[Champion]:
        """What is loaded, here or by the one before."""
        return [*self.loaded.values(), *(self._before.loaded.values() if self._before else ())]

    def of(self, inputs: str) -> Champion:
        """The model that prices by these inputs; the photo's where none reads words beside it.

        Raises:
            NoChampion: there is none of words alone.
        """
        if inputs not in self.loaded:
            self.loaded[inputs] = self.load(inputs)
        return self.loaded[inputs]

    def load(self, inputs: str) -> Champion:
        """Load the model that prices by these inputs, or take it over."""
        row = champion_of(self.in_force, inputs)
        if row is None and inputs == "both":
            return self.of("photo")
        if row is None:
            raise NoChampion(f"there is no champion that prices by {inputs} yet: `vps run` trains and promotes one")
        model_id = served_in_force(row, self.artefacts) or row["model_id"][0]
        path = self.items_path(inputs, model_id)
        for before in self.known():
            if before.predictor.model_id == model_id:
                items = before.items if before.items_path == path else self.sold_items(path)
                return Champion(inputs, before.predictor, before.extractors, before.head, items, path)
        predictor = Predictor.load(self.artefacts, model_id)
        extractors = self.extractors(predictor) if inputs != "words" else None
        head = None if extractors is None else self.head(predictor)
        return Champion(inputs, predictor, extractors, head, self.sold_items(path), path)

    def items_path(self, inputs: str, model_id: str) -> str | None:
        """Where the sold items are that a model sees; None: they are not kept yet."""
        mine = pl.col("inputs") == inputs, pl.col("model_id") == model_id
        paths = self.items.filter(*mine)["path"].to_list()
        return paths[0] if paths else None

    def sold_items(self, path: str | None) -> SoldItems | None:
        """Sold items; none where they are gone or damaged: a price does not depend on them."""
        try:
            return None if path is None else SoldItems.load(self.artefacts, id_in_path(path))
        except (DamagedArtefact, FileNotFoundError) as error:
            log.warning("no sold items are shown beside prices: %s", one_line(error))
            return None

    def shows(self, photo_hash: str) -> bool:
        """Whether a photo is one of an item that may be shown beside a suggestion."""
        kept = (champion.items for champion in list(self.loaded.values()))  # another thread may load one
        return any(items.has_photo(photo_hash) for items in kept if items is not None)

    def extractors(self, predictor: Predictor) -> FeatureExtractors:
        """The networks of a model's photos, those of another model where they are the same."""
        tasks = set(predictor.tasks(predictor.trained_tasks()))
        for other in self.known():
            same = other.predictor.embedding_id == predictor.embedding_id
            if same and other.extractors is not None and tasks <= set(other.extractors.stages):
                return other.extractors
        return predictor.extractors()

    def head(self, predictor: Predictor) -> CategoryHead | None:
        """What tells which category a photo is of, by the networks of a model."""
        if CATEGORY not in predictor.tasks(predictor.trained_tasks()):
            return None
        return CategoryHead.load(self.artefacts, backbones_of(self.artefacts, predictor.embedding_id)[CATEGORY])


def seen(offer: Offer, photo_px: int) -> tuple[np.ndarray, PhotoQuality] | UserError:
    """The offer's photo, decoded, with its measures; or what is wrong with it."""
    assert offer.image is not None, "offers of a model that takes photos have one"
    try:
        refuse_shape(file_of(offer.image))
        return decoded(file_of(offer.image), photo_px)
    except ValueError as error:
        return not_taken(offer.image, error)


def features_of(champion: Champion, photos: Sequence[Any]) -> Features:
    """The features of photos that were `seen`, by the networks of a model that takes photos."""
    assert champion.extractors is not None, "it takes photos"
    return network_features(np.stack([pixels for pixels, _ in photos]), champion.extractors)


def file_of(image: Path | bytes) -> Path | BytesIO:
    """What a decoder reads, from its beginning."""
    return BytesIO(image) if isinstance(image, bytes) else image
