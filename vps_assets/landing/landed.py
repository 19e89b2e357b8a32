"""What planning has to know of all that has landed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.landing.land import landed_files, rows_in_force
from vps_assets.lineage.graph import landed_fingerprints


@dataclass(frozen=True)
class LandedIndex:
    """What a run needs to know of all that has landed."""

    fingerprints: dict[str, str]
    """Of the dates of `raw_listings`."""
    sales: int
    """Good sold listings."""


def landed_index(home: Home) -> LandedIndex:
    """What the landings come to; read anew where they, or the date, have changed since this process did so last.

    Reading costs what history holds, and every tick of two sensors asks.
    """
    files = tuple((file, Path(file).stat().st_mtime_ns) for file in landed_files(home))
    return index_of(files, date.today())


@lru_cache(maxsize=1)
def index_of(files: Sequence[tuple[str, int]], today: date) -> LandedIndex:
    """The index of these files as they were at these times, listed until tomorrow."""
    if not files:
        return LandedIndex({}, 0)
    columns = ["listed_on", "landing_id", "sold_price", "landing_reasons"]
    rows = rows_in_force([file for file, _ in files], columns, last=today + timedelta(days=1))
    good = rows.filter(pl.col("sold_price").is_not_null(), pl.col("landing_reasons").list.len() == 0)
    return LandedIndex(landed_fingerprints(rows), good.height)
