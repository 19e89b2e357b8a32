"""What an asset has made before of what it makes again."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from vps_assets.lineage.fingerprints import own_part
from vps_assets.tables.partitions import WHOLE
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import output_window, partition_column
from vps_assets.warehouse.settings import Settings


def earlier(settings: Settings, asset: str, partitions: Sequence[str] = (WHOLE,)) -> dict[str, Any]:
    """What a job that makes these partitions again needs to keep what is as it was: its `before` and `version`."""
    return {
        "before": made_before(settings.warehouse, asset, partitions),
        "version": own_part(asset, settings.recipe),
    }


def made_before(warehouse: Warehouse, asset: str, partitions: Sequence[str]) -> pl.DataFrame:
    """The rows of these partitions in the asset's table; none of a partition that waits for a blocking check.

    So what a check has found wrong is made anew, whatever it was made from.
    """
    rows = aligned(warehouse.read(asset, *output_window(asset, list(partitions))), TABLES[asset])
    waiting, column = warehouse.unchecked().get(asset, set()), partition_column(asset)
    if column is None:
        return rows.clear() if waiting else rows
    return rows.filter(~pl.col(column).cast(pl.String).is_in(list(waiting)))
