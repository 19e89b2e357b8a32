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


def earlier(
    settings: Settings,
    asset: str,
    partitions: Sequence[str] = (WHOLE,),
    models: Sequence[str] = (),
    run_id: str | None = None,
) -> dict[str, Any]:
    """What a job needs to keep what is as it was when the asset made these partitions: its `before` and `version`.

    Args:
        settings: where the tables are.
        asset: that made them, and may be the one that makes them again.
        partitions: of the asset.
        models: of whose rows alone it is asked; none: of all.
        run_id: of a run whose own rows of the asset have passed, or what asks would not have been reached.
    """
    return {
        "before": made_before(settings.warehouse, asset, partitions, models, run_id),
        "version": own_part(asset, settings.recipe),
    }


def made_before(
    warehouse: Warehouse,
    asset: str,
    partitions: Sequence[str],
    models: Sequence[str] = (),
    run_id: str | None = None,
) -> pl.DataFrame:
    """The rows of these partitions, and models, in the asset's table; none of a partition that waits for a check.

    So what a blocking check has found wrong is made anew, whatever it was made from. A run notes at its end what has
    passed: what waits since this run alone does not count.
    """
    where, parameters = output_window(asset, list(partitions))
    if models:
        where, parameters = f"({where}) and list_contains(?, model_id)", [*parameters, list(models)]
    rows = aligned(warehouse.read(asset, where, parameters), TABLES[asset])
    waiting, column = set(warehouse.unchecked().get(asset, set())), partition_column(asset)
    if run_id is not None:
        waiting -= warehouse.unchecked(run_id).get(asset, set())
    if column is None:
        return rows.clear() if waiting else rows
    return rows.filter(~pl.col(column).cast(pl.String).is_in(list(waiting)))
