"""What items sold for before a day: over all, by category, by seller, by label."""

import dagster as dg

from vps_assets.assets.options import table_options
from vps_assets.errors import UserError
from vps_assets.lineage.graph import LINEAGE
from vps_assets.warehouse.io_manager import blocking_checks, columns_from
from vps_assets.warehouse.settings import Settings
from vps_assets.warehouse.statistics_state import correct_history
from vps_assets.warehouse.unchecked import Checks


def corrected(context: dg.AssetExecutionContext, asset: str, settings: Settings) -> dg.MaterializeResult:
    """Bring the table up to date; what was done is the materialization's metadata.

    Raises:
        dg.Failure: there is no table to compute it from.
    """
    try:
        checks = Checks(context.run_id, blocking_checks(context.job_def, dg.AssetKey(asset)))
        done = correct_history(settings.warehouse, asset, settings.recipe, checks)
    except UserError as error:
        raise dg.Failure(str(error)) from error
    how = "all, again" if done.rebuilt else f"sales of {done.since} and later" if done.since else "nothing"
    counts = {"changed listing dates": done.listing_dates, "corrected groups": done.groups, "rows written": done.rows}
    return dg.MaterializeResult(metadata={**counts, "corrected": how, **columns_from(asset)})


def statistics_options(asset: str) -> dict:
    """The asset's options: it depends on its parents without loading them, and writes the table itself."""
    return table_options(asset, "statistics") | {"deps": list(LINEAGE[asset].parents)}


@dg.asset(**statistics_options("marketplace_statistics"))
def marketplace_statistics(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of all sold prices, one row per day from which they are different; `sold_on < as_of`.

    Only what changed sales touch is computed; materialised by name with nothing changed, all of it is computed again.
    """
    return corrected(context, "marketplace_statistics", settings)


@dg.asset(**statistics_options("category_statistics"))
def category_statistics(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of a category's sold prices, one row per day from which they are different.

    Only what changed sales touch is computed; materialised by name with nothing changed, all of it is computed again.
    """
    return corrected(context, "category_statistics", settings)


@dg.asset(**statistics_options("seller_statistics"))
def seller_statistics(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of a seller's sold prices, one row per day from which they are different.

    Only what changed sales touch is computed; materialised by name with nothing changed, all of it is computed again.
    """
    return corrected(context, "seller_statistics", settings)


@dg.asset(**statistics_options("label_statistics"))
def label_statistics(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
    """Quartiles and mean of the sold prices of items with a label that a seller gave (`brand=Aldera`).

    One row per day from which they are different; labels are brands, conditions, attributes and specifications.
    """
    return corrected(context, "label_statistics", settings)
