"""Artefacts: immutable results on disk, each named by the id of what determines it.

No other module knows their folders, cards and file names. A job carries ids, and an `Artefacts` turns them into what
was stored. A card has the SHA-256 of each file of its artefact and of itself: what a disk has damaged is not read, but
set aside, so that the next run makes it again. Cards of version 0.1 have none, and their files are read as they are.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vps_ml import durable
from vps_ml.atomic import temporary_folder, whole_file

ID_LENGTH = 16
CARD = "card.json"
FILES, SEAL = "files", "sha256"
"""Keys of a card: file name -> (bytes, SHA-256); SHA-256 of the card without this key."""
NEEDS = ("feature_map_id", "roles_id", "blend_id")
"""Keys of a card that name other models without which this one cannot be used; `embedding_id` names embeddings."""
SOLD_ITEMS = "sold_items"
"""`kind` in the card of sold items that comparables are searched in: photos' features and prices, made anew with every
sale, and deleted with every seller who is forgotten."""
RESUME_PATTERN = ".*.resume"
DAMAGED_PATTERN = ".*.damaged"


class DamagedArtefact(RuntimeError):
    """What is on disk is not what was written; the message names it and says what to do."""


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
    mapped: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Frames of which a reader holds in memory what it looks at."""
    texts: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write everything; the card comes last, since it marks the artefact as complete."""
        for name, arrays in self.arrays.items():
            save_file(dict(arrays), folder / f"{name}.safetensors")
        for name, frame in self.frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        for name, frame in self.mapped.items():
            frame.rechunk().write_ipc(folder / f"{name}.arrow", compression="uncompressed")
        for name, text in self.texts.items():
            (folder / f"{name}.txt").write_text(text)
        write_card(folder, self.card)
        for path in (*folder.iterdir(), folder):
            durable.sync(path)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write a card, whole or not at all, with the checksums of the folder's files and its own."""
    sealed = sorted(path for path in folder.iterdir() if path.name != CARD and not path.name.startswith("."))
    files = {path.name: (path.stat().st_size, sha256_of(path)) for path in sealed}
    values = json.loads(json.dumps({**card, FILES: files}, default=str))
    with whole_file(folder / CARD) as temporary:
        temporary.write_text(json.dumps({**values, SEAL: seal(values)}, indent=2, sort_keys=True))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(card: Mapping[str, Any]) -> str:
    """SHA-256 of a card's values, whatever their order and spacing."""
    unsealed = {key: value for key, value in card.items() if key != SEAL}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """Artefacts of one folder, by id."""

    folder: Path

    def __contains__(self, artefact_id: str) -> bool:
        """Whether the artefact is there and, by its card and the length of its files, whole."""
        if artefact_id != Path(artefact_id).name or artefact_id.startswith("."):  # a path is no id
            return False
        try:
            return not self.faults(artefact_id)
        except FileNotFoundError:
            return False

    def ids(self) -> list[str]:
        """The ids of all artefacts with a card, ascending; whole or not."""
        return sorted(path.parent.name for path in self.folder.glob(f"[!.]*/{CARD}"))

    def seal_old(self) -> None:
        """Give the artefacts of version 0.1 their checksums: what they are now is what they are held to from now on."""
        for artefact_id in self.ids():
            folder = self.folder / artefact_id
            with suppress(FileNotFoundError, ValueError):
                card = read_card(folder)
                if FILES not in card:
                    write_card(folder, card)

    def faults(self, artefact_id: str, *, deep: bool = False) -> list[str]:
        """Names of the artefact's files that are not as they were written: by their length, if `deep` by content.

        Raises:
            FileNotFoundError: there is no such artefact.
        """
        folder = self.folder / artefact_id
        try:
            card = read_card(folder)
        except ValueError:
            return [CARD]
        return [
            name for name, (size, digest) in card.get(FILES, {}).items() if differs(folder / name, size, deep, digest)
        ]

    def make(self, artefact_id: str, fill: Callable[[], Contents]) -> str:
        """Make the artefact unless it exists; its id.

        The folder gets its name by one rename, so that a reader finds all of it or nothing, and a kill leaves only a
        temporary folder that nobody reads.
        """
        if artefact_id in self:
            os.utime(self.folder / artefact_id)  # it has a use again
        else:
            contents = fill()
            self.set_aside(artefact_id)
            with temporary_folder(self.folder, artefact_id) as temporary:
                contents.write(temporary)
                try:
                    durable.move(temporary, self.folder / artefact_id)
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

    def set_aside(self, artefact_id: str) -> None:
        """Give a damaged artefact a hidden name, so that it can be made again; nothing if there is none."""
        with suppress(FileNotFoundError):
            aside = self.folder / f".{artefact_id}.{uuid.uuid4().hex[:8]}.damaged"
            durable.move(self.folder / artefact_id, aside)
            os.utime(aside)  # it is kept for a while from now on

    def damaged(self, artefact_id: str, name: str) -> DamagedArtefact:
        """The error about a damaged file, whose artefact is set aside."""
        with suppress(OSError):  # a reader without the right to; the next run has it
            self.set_aside(artefact_id)
        what = f"{self.folder.name}/{artefact_id}/{name}"
        return DamagedArtefact(f"{what} is not what was written, and was set aside: `vps run` makes it again")

    def card(self, artefact_id: str) -> dict[str, Any]:
        """The artefact's card.

        Raises:
            DamagedArtefact: it is not what was written.
        """
        return {key: value for key, value in self.whole_card(artefact_id).items() if key != FILES}

    def whole_card(self, artefact_id: str) -> dict[str, Any]:
        """The card with the checksums of its files."""
        try:
            return read_card(self.folder / artefact_id)
        except ValueError as error:
            raise self.damaged(artefact_id, CARD) from error

    def checked(self, artefact_id: str, file: str) -> Path:
        """The path of one of the artefact's files, which is as it was written.

        Raises:
            DamagedArtefact: it is not.
        """
        path = self.folder / artefact_id / file
        written = self.whole_card(artefact_id).get(FILES, {}).get(file)
        if written and differs(path, written[0], True, written[1]):
            raise self.damaged(artefact_id, file)
        return path

    def arrays(self, artefact_id: str, name: str) -> dict[str, np.ndarray]:
        try:
            return load_file(self.checked(artefact_id, f"{name}.safetensors"))
        except SafetensorError as error:  # of a card without checksums
            raise self.damaged(artefact_id, f"{name}.safetensors") from error

    def frame(self, artefact_id: str, name: str) -> pl.DataFrame | None:
        """The named frame; None if the artefact has none of this name."""
        path = self.checked(artefact_id, f"{name}.parquet")
        return pl.read_parquet(path) if path.exists() else None

    def mapped_frame(self, artefact_id: str, name: str) -> pl.DataFrame:
        """The named frame, mapped from its file."""
        from pyarrow import ipc, memory_map  # polars would read it whole

        with memory_map(str(self.checked(artefact_id, f"{name}.arrow"))) as file:
            frame = pl.from_arrow(ipc.open_file(file).read_all())
        assert isinstance(frame, pl.DataFrame), "a table is a frame"
        return frame

    def text(self, artefact_id: str, name: str) -> str:
        return self.checked(artefact_id, f"{name}.txt").read_text()


def read_card(folder: Path) -> dict[str, Any]:
    """A folder's card.

    Raises:
        ValueError: it is not what was written.
    """
    card = json.loads((folder / CARD).read_text())
    if not isinstance(card, dict) or (SEAL in card and card[SEAL] != seal(card)):
        raise ValueError(f"{folder / CARD} is not what was written")
    return {key: value for key, value in card.items() if key != SEAL}


def differs(path: Path, size: int, deep: bool, digest: str) -> bool:
    """Whether a file is gone, or not what was written: by its length, if `deep` also by its content."""
    try:
        return path.stat().st_size != size or (deep and sha256_of(path) != digest)
    except FileNotFoundError:
        return True


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

    def needed_by(self, model_id: str) -> list[tuple[Store, str]]:
        """Where what a model's card names is stored, without which the model cannot be used."""
        card = self.models.card(model_id)
        needed = [(self.models, card[key]) for key in NEEDS if key in card]
        if (text_id := card.get("text_id")) is not None:
            needed.append((self.embeddings, text_id))
            if text_id in self.embeddings and (encoder_id := self.embeddings.card(text_id)["encoder_id"]):
                needed.append((self.models, encoder_id))
        if (embedding_id := card.get("embedding_id")) is not None:
            needed.append((self.embeddings, embedding_id))
            if embedding_id in self.embeddings:
                paths = self.embeddings.card(embedding_id)["backbones"].values()
                needed += [(self.models, id_in_path(path)) for path in paths]
        return needed

    def usable(self, model_id: str) -> bool:
        """Whether a model and everything that it needs are there, and whole by the length of their files."""
        return model_id in self.models and all(needed in store for store, needed in self.needed_by(model_id))

    def make_usable(self, model_id: str, fill: Callable[[], Contents]) -> str:
        """Make the model unless it can be used; its id. `fill` makes also what the model needs."""
        if model_id in self.models and not self.usable(model_id):
            self.models.set_aside(model_id)
        return self.models.make(model_id, fill)

    def model_path(self, model_id: str) -> str:
        """A model's folder under the data directory, as the tables' column `path` has it (see `id_in_path`)."""
        return f"models/{model_id}"

    def embedding_path(self, embedding_id: str, day: str, digest: str) -> str:
        """A date's file under the data directory, as the tables `image_embeddings` and `text_embeddings` name it."""
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
