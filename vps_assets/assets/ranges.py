"""The price range as it follows the market: which share of its ranges may miss, by day and category."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import all_champions
from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.assets.unchanged import earlier
from vps_assets.warehouse.settings import Settings
from vps_ml.ops.ranges import RangeJob, replay_ranges
from vps_ml.pricing.calibration import ALL


@dg.op
def range_job(
    context: dg.OpExecutionContext, settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame
) -> RangeJob:
    """The sold listings, and the champions as they were judged and as they price.

    Raises:
        dg.Failure: no model has been promoted.
    """
    if champion_model.is_empty():
        raise dg.Failure("There is no champion: materialise champion_model first.")
    champions = all_champions(champion_model).to_dicts()
    model_ids = tuple(dict.fromkeys(id_ for row in champions for id_ in (row["model_id"], row["served_as"]) if id_))
    predicted = earlier(settings, "evaluation_predictions", models=model_ids, run_id=context.run_id)
    return RangeJob(rows, model_ids, settings.recipe.range_level, settings.artefacts, **predicted)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_ranges(context: dg.OpExecutionContext, states: pl.DataFrame) -> pl.DataFrame:
    """Write the state of every day."""
    if states.height:
        whole = states.filter(pl.col("segment") == ALL, pl.col("model_id") == states["model_id"][0])
        tested, covered = int(whole["tested"].sum()), int(whole["covered"].sum())
        context.add_output_metadata({"tested": tested, "within the range": covered / max(tested, 1)})
    return states


range_adaptation = op_chain(
    "range_adaptation",
    "evaluation",
    """The miss rates that price ranges aim at, by listing day and category, moved by what has sold (adaptive conformal
inference: Gibbs and Candès, 2021), and how many of each day's qualified listings sold within their range.

Replayed on each run, each day with what had sold before it: for the champion as it was judged over its test listings,
which shows what the method holds, and for the refit over what has sold since, of which the newest day prices now.""",
    [sold_features, range_job, replay_ranges, record_ranges],
)
