"""Objects of a bucket, which several hosts share; whoever needs a file has a copy of it on a disk of its own.

What is kept there never changes, so that a copy is never out of date: an object gets its name by a conditional put,
which of several writers lets one win (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html),
as a rename does in a folder. What has been erased leaves a mark, by which other hosts delete their copies.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from vps_ml.atomic import whole_file

AT_A_TIME = 32
"""Objects that are fetched at the same time: each takes as long as the way to the bucket."""
ERASED = "erased/"
"""How the names of marks begin."""
MARKED_DAYS = 90.0
"""A host that was away for longer starts with an empty disk (docs/scale.md)."""


class NoBucket(RuntimeError):
    """The bucket cannot be asked; the message has one line for a person."""


@dataclass(frozen=True)
class Stored:
    """What a bucket says of an object."""

    key: str
    e_tag: str
    written: datetime


@dataclass(frozen=True)
class Bucket:
    """The objects under an address such as `s3://bucket/prefix`; credentials come from AWS's usual variables."""

    address: str

    @property
    def store(self) -> Any:
        return connected(self.address, os.getpid())

    def fetch(self, key: str, target: Path) -> bool:
        """Write an object to a file, whole or not at all; whether there is such an object."""
        data = self.read(key)
        if data is None:
            return False
        with whole_file(target) as temporary:
            temporary.write_bytes(data)
        return True

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None if there is none."""
        try:
            with asking(self.address) as obstore:
                return bytes(obstore.get(self.store, key).bytes())
        except FileNotFoundError:
            return None

    def create(self, key: str, data: Path | bytes) -> bool:
        """Give an object its name, unless it is taken; whether it was free."""
        try:
            with asking(self.address) as obstore:
                obstore.put(self.store, key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def take_over(self, stored: "Stored", data: bytes) -> bool:
        """Write an object in the place of one that is still as it was; whether it was."""
        try:
            with asking(self.address) as obstore:
                obstore.put(self.store, stored.key, data, mode={"e_tag": stored.e_tag})
        except (FileExistsError, FileNotFoundError):
            return False
        return True

    def replace(self, key: str, data: Path | bytes) -> None:
        """Write an object in the place of another."""
        with asking(self.address) as obstore:
            obstore.put(self.store, key, data)

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        return self.facts(key) is not None

    def listed(self, prefix: str) -> list[Stored]:
        """The objects whose names begin so, which ends with a `/`, by name."""
        with asking(self.address) as obstore:
            found = [one for chunk in obstore.list(self.store, prefix, chunk_size=1000) for one in chunk]
        return sorted(
            (Stored(one["path"], one["e_tag"] or "", one["last_modified"]) for one in found), key=lambda one: one.key
        )

    def facts(self, key: str) -> Stored | None:
        """What there is to say of an object; None if there is none."""
        try:
            with asking(self.address) as obstore:
                one = obstore.head(self.store, key)
        except FileNotFoundError:
            return None
        return Stored(key, one["e_tag"] or "", one["last_modified"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        if keys:
            with asking(self.address) as obstore:
                obstore.delete(self.store, list(keys))

    def erase(self, keys: Sequence[str]) -> None:
        """Mark objects, so that every host deletes its copies, and delete them."""
        for key in keys:
            self.replace(f"{ERASED}{key}", b"")  # first: what is not there any more would be marked by nobody
        self.delete(keys)

    def erased(self) -> list[str]:
        """The names of the objects that were erased; marks that every host has seen are removed."""
        marks, before = self.listed(ERASED), datetime.now(UTC) - timedelta(days=MARKED_DAYS)
        self.delete([mark.key for mark in marks if mark.written < before])
        return [mark.key.removeprefix(ERASED) for mark in marks]


@contextmanager
def asking(address: str) -> Iterator[Any]:
    """The module `obstore`; its errors become ours, and Python's for a name that is taken or that nothing has.

    Raises:
        NoBucket: the bucket cannot be asked.
        FileNotFoundError: there is no such object.
        FileExistsError: there is one already, or another.
    """
    try:
        import obstore
        from obstore import exceptions
    except ImportError as error:
        raise NoBucket("VPS_STORAGE needs obstore: pip install '.[scale]' in the checkout") from error
    try:
        yield obstore
    except exceptions.NotFoundError as error:
        raise FileNotFoundError(address) from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise FileExistsError(address) from error
    except exceptions.BaseError as error:
        what = str(error).partition("Debug source")[0]
        raise NoBucket(f"VPS_STORAGE: {address} does not answer as a bucket: {' '.join(what.split())[:300]}") from error


@lru_cache(maxsize=4)
def connected(address: str, process: int) -> Any:
    """The store of an address, once in each process: no connection survives a fork."""
    from obstore.store import from_url

    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return from_url(address, client_options={"allow_http": True} if plain else {})


def in_parallel(fetch: Any, keys: Sequence[Any]) -> Iterator[Any]:
    """What `fetch` returns for each, in order."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(fetch, keys)
