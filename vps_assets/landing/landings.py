"""The files that have landed.

A landing is an immutable Parquet file, named by its id; many small ones are packed into one that names them in its
column `landing_id` (`packs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from vps_assets.errors import Failure
from vps_assets.home import Home
from vps_assets.landing.mirror import landings_here

Read = TypeVar("Read")

LANDING_ID = "landing_id"
"""Column of `raw_listings`: a landing's file name, and a column of packs."""
PACK = "pack-"
"""How the names of packs begin."""


class ForeignFile(Failure):
    """A file in the landing folder is no landing, or damaged: its rows would be left out without a word."""


def landed_files(home: Home) -> list[str]:
    """Paths of all landings, by name."""
    paths = landings_here(home)
    gone = packed(paths)
    return [str(path) for path in paths if path not in gone]


def packed(paths: Sequence[Path]) -> set[Path]:
    """The landings and packs among these that another pack holds: about to be deleted, unless a kill came before."""
    packs = {path: facts(path).ids for path in paths if path.name.startswith(PACK)}
    held = frozenset[str]().union(*packs.values())
    return {path for path in paths if path.stem in held} | {
        path for path, ids in packs.items() if any(ids < others for others in packs.values())
    }


@dataclass(frozen=True)
class Facts:
    """What landing needs to know of a file that has landed."""

    ids: frozenset[str]
    """The landings in it."""
    currencies: frozenset[str]
    newest: datetime
    """When the newest of them landed."""


def facts(path: Path) -> Facts:
    """The facts of a landing or pack; read again only if the file has changed.

    Raises:
        ForeignFile: it is no landing, or damaged.
    """
    return facts_as_of(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8192)
def facts_as_of(path: Path, modified_ns: int) -> Facts:
    try:
        rows = pl.scan_parquet(path, glob=False)
        names = {LANDING_ID, "currency", "landed_at"} & set(rows.collect_schema().names())
        found = rows.select(pl.col(name).unique().implode() for name in names).collect()
        values = {name: found[name][0].drop_nulls() for name in names}
        ids = frozenset(values.get(LANDING_ID, ())) or frozenset({path.stem})
        return Facts(ids, frozenset(values.get("currency", ())), max(values["landed_at"]))
    except FileNotFoundError:
        raise
    except KeyError:
        raise ForeignFile(f"{path} was not written by `vps land`: move it away, and land it") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise ForeignFile(unreadable(str(path))) from error


def landed_ids(files: Sequence[str]) -> set[str]:
    """The ids of all landings in these files."""
    return set().union(*(facts(Path(file)).ids for file in files))


def reading(home: Home, read: Callable[[list[str]], Read]) -> Read:
    """What `read` finds in all landings; from the start if one of them was packed or erased meanwhile.

    Raises:
        ForeignFile: one of them is no landing, or damaged.
    """
    before: list[Path] | None = None
    while True:
        listed, files = sorted(home.landing.glob("*")), list[str]()
        try:
            files = landed_files(home)
            return read(files)
        except FileNotFoundError:
            if listed == before:  # nothing was packed or erased: a link that leads nowhere
                raise
        except duckdb.Error:
            if listed == before or all(Path(file).exists() for file in files):
                if (file := next(filter(is_damaged, files), None)) is not None:
                    raise ForeignFile(unreadable(file)) from None
                raise
        before = listed


def is_damaged(file: str) -> bool:
    """Whether a Parquet file cannot be read to its end."""
    try:
        for _ in pl.scan_parquet(file, glob=False).collect_batches(chunk_size=20_000):
            pass
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return True
    return False


def unreadable(file: str) -> str:
    return (
        f"{file} is damaged: restore it from the backup; without one, move it away and land again, oldest first, "
        "its file and all that landed since"
    )


def so_far(files: Sequence[str]) -> tuple[set[str], datetime | None]:
    """(the currencies of all that has landed, when the newest landed)."""
    known = [facts(Path(file)) for file in files]
    return set().union(*(one.currencies for one in known)), max((one.newest for one in known), default=None)
