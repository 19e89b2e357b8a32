"""Artefacts: immutable results on disk, each named by the id of what determines it.

No other module knows their folders, cards and file names. A job carries ids, and an `Artefacts` turns them into what
was stored.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from vps_ml.atomic import temporary_folder

ID_LENGTH = 16
CARD = "card.json"
RESUME_PATTERN = ".*.resume"


def identity(*parts: Any) -> str:
    """A short id that is equal exactly when the parts are: 16 hexadecimal digits of SHA-256 over their JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


@dataclass(frozen=True)
class Contents:
    """What an artefact holds: its card, and named arrays, frames and texts."""

    card: Mapping[str, Any]
    """Plain values."""
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """File name -> array name -> array."""
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write everything; the card comes last, since it marks the artefact as complete."""
        for name, arrays in self.arrays.items():
            save_file(dict(arrays), folder / f"{name}.safetensors")
        for name, frame in self.frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        for name, text in self.texts.items():
            (folder / f"{name}.txt").write_text(text)
        (folder / CARD).write_text(json.dumps(dict(self.card), indent=2, sort_keys=True, default=str))


@dataclass(frozen=True)
class Store:
    """Artefacts of one folder, by id."""

    folder: Path

    def __contains__(self, artefact_id: str) -> bool:
        named = artefact_id == Path(artefact_id).name  # no path
        return named and (self.folder / artefact_id / CARD).exists()

    def ids(self) -> list[str]:
        """The ids of all complete artefacts, ascending."""
        return sorted(path.parent.name for path in self.folder.glob(f"[!.]*/{CARD}"))

    def make(self, artefact_id: str, fill: Callable[[], Contents]) -> str:
        """Make the artefact unless it exists; its id.

        The folder gets its name by one rename, so that a reader finds all of it or nothing, and a kill leaves only a
        temporary folder that nobody reads.
        """
        if artefact_id not in self:
            contents = fill()
            with temporary_folder(self.folder, artefact_id) as temporary:
                contents.write(temporary)
                try:
                    temporary.replace(self.folder / artefact_id)
                except OSError:
                    if artefact_id not in self:  # otherwise another run made the same artefact first
                        raise
        shutil.rmtree(self.resume_folder(artefact_id), ignore_errors=True)
        return artefact_id

    def resume_folder(self, artefact_id: str) -> Path:
        """Where an artefact that is being made keeps its checkpoints; removed once it is made."""
        return self.folder / f".{artefact_id}.resume"

    def interrupted(self) -> list[Path]:
        """The resume folders of all artefacts that are being made, or were when their process was killed."""
        with suppress(FileNotFoundError):  # another process is removing one
            return list(self.folder.glob(RESUME_PATTERN))
        return []

    def card(self, artefact_id: str) -> dict[str, Any]:
        """The artefact's card."""
        return json.loads((self.folder / artefact_id / CARD).read_text())

    def arrays(self, artefact_id: str, name: str) -> dict[str, np.ndarray]:
        return load_file(self.folder / artefact_id / f"{name}.safetensors")

    def frame(self, artefact_id: str, name: str) -> pl.DataFrame | None:
        """The named frame; None if the artefact has none of this name."""
        path = self.folder / artefact_id / f"{name}.parquet"
        return pl.read_parquet(path) if path.exists() else None

    def text(self, artefact_id: str, name: str) -> str:
        return (self.folder / artefact_id / f"{name}.txt").read_text()


@dataclass(frozen=True)
class Artefacts:
    """Everything under the data directory that is named by its content: models, embeddings, photos."""

    root: Path

    @property
    def models(self) -> Store:
        """Backbones, feature maps, roles, price models and baselines."""
        return Store(self.root / "models")

    @property
    def embeddings(self) -> Store:
        """Sets of embeddings, each of one set of backbones; a set's date files lie beside its card."""
        return Store(self.root / "embeddings")

    def model_path(self, model_id: str) -> str:
        """A model's folder under the data directory, as the tables' column `path` has it (see `id_in_path`)."""
        return f"models/{model_id}"

    def embedding_path(self, embedding_id: str, day: str, digest: str) -> str:
        """A date's file of embeddings under the data directory, as the table `image_embeddings` names it."""
        return f"embeddings/{embedding_id}/{day}-{digest}.safetensors"

    def embedding_file(self, embedding_path: str) -> Path:
        """The file of an `embedding_path`."""
        return self.root / embedding_path

    def photo(self, photo_hash: str) -> Path:
        """The file of a landed photo, by the SHA-256 of its bytes."""
        return self.root / "photos" / photo_hash[:2] / photo_hash


def id_in_path(path: str) -> str:
    """The model's id in a `model_path`."""
    return path.rpartition("/")[2]
