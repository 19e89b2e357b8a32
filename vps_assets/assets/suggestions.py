"""One price, or one honest reason, for each open listing."""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from vps_assets.assets.champion import champion_jobs
from vps_assets.assets.features import open_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.assets.suggestion_history import secure
from vps_assets.assets.unchanged import earlier
from vps_assets.warehouse.settings import Settings
from vps_ml.ops.suggestions import ChampionJob, suggest_prices


@dg.op
def suggestion_job(
    context: dg.OpExecutionContext,
    settings: Settings,
    rows: pl.DataFrame,
    champion_model: pl.DataFrame,
    range_adaptation: pl.DataFrame,
) -> ChampionJob:
    """The dates' open listings with their features, the champions, how their ranges followed the market, and what was
    suggested before."""
    return replace(
        champion_jobs(settings, rows, champion_model),
        range_adaptation=range_adaptation,
        **earlier(settings, "price_suggestions", context.partition_keys),
    )


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_suggestions(context: dg.OpExecutionContext, settings: Settings, suggested: pl.DataFrame) -> pl.DataFrame:
    """Write the suggestions, stamped; those that they replace are in the history by then."""
    secure(settings.warehouse, context.partition_keys[0], context.partition_keys[-1])
    if suggested.is_empty():
        return pl.DataFrame()
    return suggested.with_columns(suggested_at=pl.lit(datetime.now(UTC)))


price_suggestions = op_chain(
    "price_suggestions",
    "suggestions",
    """What the seller of each open listing sees: a price with its range, or what to do about the photo.

Key: `listing_id`. Partition: `listed_on`, a UTC day. Money: the warehouse's currency.""",
    [open_features, suggestion_job, suggest_prices, record_suggestions],
)
