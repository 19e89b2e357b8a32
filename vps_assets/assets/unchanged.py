"""What an asset has made before of the dates that it makes again."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from vps_assets.lineage.fingerprints import own_part
from vps_assets.tables.schemas import TABLES, aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.io_manager import output_window
from vps_assets.warehouse.settings import Settings


def earlier(settings: Settings, asset: str, dates: Sequence[str]) -> dict[str, Any]:
    """What a job that makes these dates again needs to keep what is as it was: `before` and `version` of its fields."""
    return {
        "before": made_before(settings.warehouse, asset, dates),
        "version": own_part(asset, settings.recipe),
    }


def made_before(warehouse: Warehouse, asset: str, dates: Sequence[str]) -> pl.DataFrame:
    """The rows of these dates that stand in the asset's table; none of a date that waits for a blocking check.

    So what a check has found wrong is made anew, whatever it was made from.
    """
    rows = aligned(warehouse.read(asset, *output_window(asset, [dates[0], dates[-1]])), TABLES[asset])
    waiting = warehouse.unchecked().get(asset, set())
    return rows.filter(~pl.col("listed_on").cast(pl.String).is_in(list(waiting)))
