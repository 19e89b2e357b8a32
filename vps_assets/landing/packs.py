"""Small landings packed into one file, so that reading what has landed does not cost a file for each of them.

A pack keeps each row's `landing_id`, so nothing that is recorded of a landing changes. It gets its name before the
landings in it are deleted; readers leave out a landing that a pack holds (`landed.landed_files`). One process packs or
rewrites landings at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import log
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.landing.landed import opened
from vps_assets.landing.landings import PACK, landed_files, packed
from vps_assets.landing.mirror import delete, landings_here, leased, put, write_anew
from vps_ml import durable
from vps_ml.atomic import locked, temporary_name, whole_file
from vps_ml.cards import identity

TOGETHER = 16
"""Files of about one size that are packed into one, which is then of the next size: each row is copied a few times."""
LARGE_BYTES = 16 << 20
"""Files from here on stay as they are."""
ROW_GROUP = 20_000


@contextmanager
def rewriting(home: Home, *, wait: bool = True) -> Iterator[bool]:
    """Hold the right to replace landings; whether it was to be had without waiting for it."""
    durable.make_folder(home.path)
    with locked(home.path / ".landing.lock", wait=wait) as mine:
        if not mine:
            yield False
            return
        with leased(home.artefacts.bucket, wait=wait) as of_all_hosts:
            yield of_all_hosts


def compact(home: Home) -> None:
    """Pack landings while there are too many small ones; nothing if another process is at it."""
    with rewriting(home, wait=False) as mine:
        if not mine:
            return
        delete_packed(home)
        while (alike := too_many(landed_files(home))) is not None:
            pack(home, alike)
            delete_packed(home)


def too_many(files: Sequence[str]) -> list[str] | None:
    """Small files of about one size, if there are enough of them to be packed."""
    by_size: dict[int, list[str]] = {}
    for file in files:
        if (size := Path(file).stat().st_size) < LARGE_BYTES:
            by_size.setdefault(int(log(max(size, 1), TOGETHER)), []).append(file)
    return next((alike for _, alike in sorted(by_size.items()) if len(alike) >= TOGETHER), None)


def pack(home: Home, files: Sequence[str]) -> None:
    """Write these landings into one file."""
    target = home.landing / f"{PACK}{identity(sorted(Path(file).name for file in files))}.parquet"
    temporary = home.landing / temporary_name(target.name)
    try:
        with opened(files) as connection:
            rows = connection.sql("select * exclude (filename) from landed order by landing_id, line")
            rows.write_parquet(str(temporary), compression="zstd", row_group_size=ROW_GROUP)
        durable.sync(temporary)
        put(home, temporary, target.name)
        durable.sync(home.landing)
    finally:
        temporary.unlink(missing_ok=True)


def delete_packed(home: Home) -> None:
    """Delete the landings, and the packs, that another pack holds."""
    for path in packed(landings_here(home)):
        delete(home, path)


def rewrite_landings(home: Home, seller: str) -> None:
    """Remove the seller's rows from the landings, each file by one rename; a file with no other rows is deleted."""
    with rewriting(home):
        delete_packed(home)
        for file in map(Path, landed_files(home)):
            rows = pl.scan_parquet(file)
            others = pl.col("seller_id").is_null() | (pl.col("seller_id") != seller)
            counts = rows.select(pl.len().alias("all"), others.sum().alias("others")).collect().row(0, named=True)
            if counts["others"] == counts["all"]:
                continue
            if not counts["others"]:
                delete(home, file)
                continue
            with whole_file(file) as temporary:
                rows.filter(others).sink_parquet(temporary, compression="zstd")
                write_anew(home, temporary, file.name)
