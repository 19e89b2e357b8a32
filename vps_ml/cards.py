"""Cards: what an artefact says of itself, with the SHA-256 of each of its files and of the card.

What a disk has damaged is not read, but set aside, so that the next run makes it again. Cards of version 0.1 have no
checksums, and their files are read as they are.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from vps_ml import durable
from vps_ml.atomic import whole_file

ID_LENGTH = 16
CARD = "card.json"
FILES, SEAL = "files", "sha256"
"""Keys of a card: file name -> (bytes, SHA-256); SHA-256 of the card without this key."""


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


def read_card(folder: Path) -> dict[str, Any]:
    """A folder's card.

    Raises:
        ValueError: it is not what was written.
    """
    return sealed_card((folder / CARD).read_bytes(), str(folder / CARD))


def sealed_card(text: bytes, name: str) -> dict[str, Any]:
    """The card that this is.

    Raises:
        ValueError: it is not what was written.
    """
    card = json.loads(text)
    if not isinstance(card, dict) or (SEAL in card and card[SEAL] != seal(card)):
        raise ValueError(f"{name} is not what was written")
    return {key: value for key, value in card.items() if key != SEAL}


def differs(path: Path, size: int, deep: bool, digest: str) -> bool:
    """Whether a file is gone, or not what was written: by its length, if `deep` also by its content."""
    try:
        return path.stat().st_size != size or (deep and sha256_of(path) != digest)
    except FileNotFoundError:
        return True
