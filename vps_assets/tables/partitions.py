"""How assets are partitioned, once, so that two assets never disagree."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from vps_assets.errors import WrongSetting
from vps_ml.backbones.tasks import NETWORKS
from vps_ml.pricing.variants import COVERAGE_TARGETS, ERROR_TOLERANCES

EARLIEST_DAY = date(1995, 1, 1)
"""Before the first online marketplaces: an older listing date is a mistake."""
WHOLE = ""
"""The partition of an asset without partitions."""


@dataclass(frozen=True)
class Partitioning:
    """One way to partition assets."""

    column: str | None
    """Of the asset's table, with the partition's key; None for an asset without partitions."""
    keys: tuple[str, ...] | None
    """All partitions in order; None for listing dates, which are those that have landed."""


PARTITIONINGS: Mapping[str, Partitioning] = {
    "day": Partitioning("listed_on", None),
    "task": Partitioning("task", NETWORKS),
    "coverage_target": Partitioning("constraint_value", tuple(map(str, COVERAGE_TARGETS))),
    "error_tolerance": Partitioning("constraint_value", tuple(map(str, ERROR_TOLERANCES))),
    "none": Partitioning(None, (WHOLE,)),
}
STATIC_KEYS: Mapping[str, list[str]] = {
    name: list(partitioning.keys) for name, partitioning in PARTITIONINGS.items() if partitioning.keys is not None
}
"""The partitions of each partitioning but `day`."""


def first_listing_date(first_landed: date | None) -> date:
    """The first daily partition that the UI shows: the earlier of `VPS_FIRST_DATE` and the first landed; else today.

    Raises:
        WrongSetting: `VPS_FIRST_DATE` is not a date like 2024-01-31.
    """
    given = os.environ.get("VPS_FIRST_DATE")
    try:
        first = date.fromisoformat(given) if given else datetime.now(UTC).date()
    except ValueError as error:
        raise WrongSetting(f"VPS_FIRST_DATE: {given!r} is not a date like 2024-01-31") from error
    return min(first, first_landed or first)
