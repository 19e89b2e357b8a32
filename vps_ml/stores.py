"""Artefacts by id, in a folder of this disk; with a bucket, in one that other hosts share."""

import os
import shutil
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vps_ml import durable
from vps_ml.atomic import temporary_folder, untouched
from vps_ml.buckets import Bucket
from vps_ml.cards import CARD, FILES, Contents, differs, read_card, sealed_card, write_card

RESUME_PATTERN = ".*.resume"
DAMAGED_PATTERN = ".*.damaged"


class DamagedArtefact(RuntimeError):
    """What is on disk is not what was written; the message names it and says what to do."""


@dataclass(frozen=True)
class Store:
    """Artefacts of one folder, by id; with a bucket, what is there is fetched when it is first read."""

    folder: Path
    bucket: Bucket | None = None

    def __contains__(self, artefact_id: str) -> bool:
        """Whether the artefact is there and, by its card and the length of its files, whole."""
        if artefact_id != Path(artefact_id).name or artefact_id.startswith("."):  # a path is no id
            return False
        try:
            return not self.faults(artefact_id)
        except FileNotFoundError:
            return self.bucket is not None and self.bucket.has(self.key(artefact_id, CARD))

    def ids(self) -> list[str]:
        """The ids of all artefacts with a card, ascending; whole or not."""
        here = {path.parent.name for path in self.folder.glob(f"[!.]*/{CARD}")}
        there = self.bucket.listed(f"{self.folder.name}/") if self.bucket else []
        return sorted(here | {one.key.split("/")[1] for one in there if one.key.endswith(f"/{CARD}")})

    def key(self, artefact_id: str, file: str) -> str:
        """The name of one of an artefact's objects."""
        return f"{self.folder.name}/{artefact_id}/{file}"

    def fetch(self, artefact_id: str) -> None:
        """Bring an artefact here, if the bucket has it and this disk has not."""
        if self.bucket is None or (self.folder / artefact_id / CARD).exists():
            return
        with temporary_folder(self.folder, artefact_id) as temporary:
            if not self.bucket.fetch(self.key(artefact_id, CARD), temporary / CARD):
                return
            for name, (size, digest) in read_card(temporary).get(FILES, {}).items():
                key = self.key(artefact_id, f"{digest}.{name}")
                self.bucket.fetch(key, temporary / name)
                if differs(temporary / name, size, True, digest):  # gone, or damaged: it has to be made again
                    self.bucket.delete([self.key(artefact_id, CARD), key])
                    return
            with suppress(OSError):  # another process was first
                durable.move(temporary, self.folder / artefact_id)

    def share(self, artefact_id: str) -> None:
        """Put an artefact in the bucket, unless it is there: its files by what is in them, its card last.

        One that another host has made need not be here. Where another host made it at the same time, with other bytes,
        its card stands, and its files are what is read.
        """
        if self.bucket is None:
            return
        folder, key = self.folder / artefact_id, self.key(artefact_id, CARD)
        if (card := self.bucket.read(key)) is None:
            for name, (_, digest) in self.whole_card(artefact_id).get(FILES, {}).items():
                self.bucket.create(self.key(artefact_id, f"{digest}.{name}"), folder / name)
            card = None if self.bucket.create(key, folder / CARD) else self.bucket.read(key)
        if card is not None and (folder / CARD).exists() and card != (folder / CARD).read_bytes():
            shutil.rmtree(folder)
            self.fetch(artefact_id)

    def untouched(self, ids: Collection[str], days: float) -> list[str]:
        """Those of these artefacts that nobody has made, or used here, for so many days."""
        here = {path.name for path in map(self.folder.joinpath, ids) if path.exists()}
        old = {path.name for path in untouched(map(self.folder.joinpath, here), days)} | (set(ids) - here)
        before = datetime.now(UTC) - timedelta(days=days)
        there = self.bucket.listed(f"{self.folder.name}/") if self.bucket is not None else []
        return sorted(old - {one.key.split("/")[1] for one in there if one.written > before})

    def delete(self, artefact_id: str) -> None:
        """Delete an artefact, here and in the bucket, and mark it for the other hosts."""
        if self.bucket is not None:
            others = [one.key for one in self.bucket.listed(self.key(artefact_id, ""))]
            self.bucket.erase([self.key(artefact_id, CARD)])  # first: without it nobody finds the others
            self.bucket.delete(others)
        shutil.rmtree(self.folder / artefact_id, ignore_errors=True)

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
        self.fetch(artefact_id)
        if artefact_id in self:
            os.utime(self.folder / artefact_id)  # it has a use again
        else:
            contents = fill()
            if artefact_id not in self:  # another process may have made it meanwhile, and be reading it
                self.set_aside(artefact_id)
            with temporary_folder(self.folder, artefact_id) as temporary:
                contents.write(temporary)
                try:
                    durable.move(temporary, self.folder / artefact_id)
                except OSError:
                    if artefact_id not in self:  # otherwise another run made the same artefact first
                        raise
        self.share(artefact_id)
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

    def told(self, artefact_id: str) -> dict[str, Any]:
        """What the artefact's card tells; empty if there is no such artefact, or it is damaged."""
        try:
            return self.card(artefact_id)
        except (OSError, DamagedArtefact):
            return {}

    def card(self, artefact_id: str) -> dict[str, Any]:
        """The artefact's card.

        Raises:
            DamagedArtefact: it is not what was written.
        """
        return {key: value for key, value in self.whole_card(artefact_id).items() if key != FILES}

    def whole_card(self, artefact_id: str) -> dict[str, Any]:
        """The card with the checksums of its files, which is all that is fetched of an artefact of the bucket."""
        if self.bucket is not None and not (self.folder / artefact_id / CARD).exists():
            return card_in_bucket(self.bucket, self.key(artefact_id, CARD))
        try:
            return read_card(self.folder / artefact_id)
        except ValueError as error:
            raise self.damaged(artefact_id, CARD) from error

    def checked(self, artefact_id: str, file: str) -> Path:
        """The path of one of the artefact's files, which is as it was written.

        Raises:
            DamagedArtefact: it is not.
        """
        self.fetch(artefact_id)
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


@lru_cache(maxsize=4096)
def card_in_bucket(bucket: Bucket, key: str) -> dict[str, Any]:
    """A card that only the bucket has; read once, since none is ever changed.

    Raises:
        FileNotFoundError: there is none.
    """
    data = bucket.read(key)
    if data is None:
        raise FileNotFoundError(f"{bucket.address}/{key}")
    return sealed_card(data, key)
