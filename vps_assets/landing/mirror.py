"""Landings in a bucket: every host reads them from a copy on its own disk, which follows the bucket."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_ml.atomic import whole_file
from vps_ml.buckets import Bucket, in_parallel
from vps_ml.processes import here_and_now

PREFIX = "landing/"
COPIES = ".copies.json"
"""Which version of each landing this disk has a copy of: an erasure writes some of them anew."""
SHARED = ".shared"
LEASE = "landing.lease"
LEASED_FOR = timedelta(hours=1)
"""Whoever rewrites landings and has not ended by then was killed."""
LOOKS_EVERY_S = 1.0


class NotShared(Failure):
    """This disk has a landing that no other host can see."""


def share_landings(home: Home) -> None:
    """Put the landings of this disk in the bucket, as when a bucket is first used."""
    if (bucket := home.artefacts.bucket) is not None:
        for path in home.landing.glob("[!.]*.parquet"):
            bucket.create(f"{PREFIX}{path.name}", path)


def landings_here(home: Home) -> list[Path]:
    """The files in `landing/`, by name; with a bucket, after the copies have been brought up to date with it."""
    if (bucket := home.artefacts.bucket) is not None:
        follow(home, bucket)
    return sorted(home.landing.glob("[!.]*.parquet"))


def follow(home: Home, bucket: Bucket) -> None:
    """Fetch the landings that are new or were written anew, and delete the copies of those that are gone."""
    there = {one.key.removeprefix(PREFIX): one.e_tag for one in bucket.listed(PREFIX)}
    noted = home.landing / COPIES
    known: dict[str, str] = {}
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(noted.read_text())
    missing = [name for name, tag in there.items() if known.get(name) != tag or not (home.landing / name).exists()]
    here = {path.name for path in home.landing.glob("[!.]*.parquet")}
    ours = {path.name[1 : -len(SHARED)] for path in home.landing.glob(f".*{SHARED}")}
    if only_here := sorted(here - there.keys() - known.keys() - ours):
        raise NotShared(f"landing/{only_here[0]} is not in {bucket.address}: `vps init` puts there what this host has")
    for name in here - there.keys():
        (home.landing / name).unlink(missing_ok=True)
    list(in_parallel(lambda name: bucket.fetch(f"{PREFIX}{name}", home.landing / name), missing))
    if known != there:
        with whole_file(noted) as temporary:
            temporary.write_text(json.dumps(there))
    for name in ours & here:  # as the copies say by now, or gone
        note_of(home, name).unlink(missing_ok=True)


def put(home: Home, written: Path, name: str) -> None:
    """Give a landing or pack its name, unless another host has just given it to the same rows."""
    if (bucket := home.artefacts.bucket) is not None:
        bucket.create(f"{PREFIX}{name}", written)  # first: a copy that the bucket does not have is deleted
        note_of(home, name).touch()  # another host may pack and delete it before this one looks
    written.replace(home.landing / name)


def note_of(home: Home, name: str) -> Path:
    """The file that says that this host has put a landing in the bucket, until the copies say so."""
    return home.landing / f".{name}{SHARED}"


def write_anew(home: Home, written: Path, name: str) -> None:
    """Replace a landing by one with fewer rows."""
    if (bucket := home.artefacts.bucket) is not None:
        bucket.replace(f"{PREFIX}{name}", written)


def delete(home: Home, path: Path) -> None:
    """Delete a landing."""
    if (bucket := home.artefacts.bucket) is not None:
        bucket.delete([f"{PREFIX}{path.name}"])
    path.unlink(missing_ok=True)


@contextmanager
def leased(bucket: Bucket | None, *, wait: bool) -> Iterator[bool]:
    """Hold the right to replace landings against other hosts; whether it was to be had, if it is not waited for."""
    if bucket is None:
        yield True
        return
    mine = f"{here_and_now()} {os.urandom(8).hex()}".encode()
    while not (held := bucket.create(LEASE, mine) or taken_over(bucket, mine)) and wait:
        time.sleep(LOOKS_EVERY_S)
    try:
        yield held
    finally:
        if held and bucket.read(LEASE) == mine:
            bucket.delete([LEASE])


def taken_over(bucket: Bucket, mine: bytes) -> bool:
    """Whether the lease was that of a host that was killed, and is ours now."""
    lease = bucket.facts(LEASE)
    return lease is not None and lease.written < datetime.now(UTC) - LEASED_FOR and bucket.take_over(lease, mine)
