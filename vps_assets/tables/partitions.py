"""The partitions, once, so that two assets never disagree."""

import os
from datetime import UTC, date, datetime

import dagster as dg
import polars as pl

from vps_assets.home import Home
from vps_ml.pricing.models import COVERAGE_TARGETS, ERROR_TOLERANCES
from vps_ml.recipes import TASKS as TASK_NAMES


def first_listing_date(home: Home) -> date:
    """The first day of the daily partitions: the earlier of `VPS_FIRST_DATE` and the first landed; else today (UTC).

    Raises:
        ValueError: `VPS_FIRST_DATE` is not a date like 2024-01-31.
    """
    given = os.environ.get("VPS_FIRST_DATE")
    first = date.fromisoformat(given) if given else datetime.now(UTC).date()
    files = list(home.landing.glob("*.parquet"))
    if not files:
        return first
    return min(first, pl.scan_parquet(files).select(pl.col("listed_on").min()).collect().item() or first)


def keys(values: tuple[float, ...]) -> list[str]:
    """Partition keys of constraint values: 0.3 is "0.3"."""
    return [str(value) for value in values]


# end_offset: today is a partition too; its listings are still coming in, and a re-run takes the rest.
LISTING_DATES = dg.DailyPartitionsDefinition(
    first_listing_date(Home.from_environment()).isoformat(), timezone="UTC", end_offset=1
)
TASKS = dg.StaticPartitionsDefinition(list(TASK_NAMES))
COVERAGE_TARGET_PARTITIONS = dg.StaticPartitionsDefinition(keys(COVERAGE_TARGETS))
ERROR_TOLERANCE_PARTITIONS = dg.StaticPartitionsDefinition(keys(ERROR_TOLERANCES))
