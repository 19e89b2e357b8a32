"""What cleaning took out of the test rows for their price: judged all the same, so that cleaning cannot flatter."""

from collections.abc import Mapping

import dagster as dg
import polars as pl

from vps_assets.assets.features import sampled, share_taken, sold_features
from vps_assets.assets.listings import OF_BOUNDS, TOO_HIGH, TOO_LOW, judged, with_splits
from vps_assets.assets.options import WAREHOUSE, WRITER, only, op_chain
from vps_assets.tables.splits import ROLES
from vps_assets.warehouse.settings import Settings
from vps_ml.features.given import SAID
from vps_ml.features.roles import ITEM
from vps_ml.features.statistics import with_statistics
from vps_ml.ops.pricing import OutOfBoundsJob, PredictionJob, predict_out_of_bounds

LANDED = (*OF_BOUNDS, "listing_id", "listed_at", "category", "seller_id", "price", *SAID)
"""What is judged and joined of a landed listing."""


def beyond_bounds(
    raw_listings: pl.DataFrame,
    price_bounds: pl.DataFrame,
    rows: pl.DataFrame,
    statistics: Mapping[str, pl.DataFrame],
    most_sold: int,
) -> pl.DataFrame:
    """Sold listings that are good but for their price, with the splits in which they would be tested.

    Without those that share a group or a photo with a row that trains or calibrates there. Where `rows` are a sample of
    the sold, at most `most_sold`, these are as large a share: errors over both weigh them as they landed.
    """
    landed = judged(raw_listings, price_bounds)
    priced = landed.filter(pl.col("sold_price").is_not_null(), pl.col("reasons").list.len() == 0).height
    out_of_bounds = [TOO_LOW, TOO_HIGH]
    only = (pl.col("reasons").list.len() == 1) & pl.col("reasons").list.first().is_in(out_of_bounds)
    kept = sampled(with_splits(landed.filter(only), price_bounds), share_taken(priced, most_sold))
    for side, role in ROLES.items():
        learnt = rows.filter(pl.col(role).is_in(["train", "validation"]))
        shared = pl.any_horizontal(pl.col(name).is_in(learnt[name].unique().implode()) for name in ITEM)
        kept = kept.with_columns(pl.when((pl.col(side) == "test") & ~shared).then(pl.lit("test")).alias(role))
    either = kept.filter(pl.any_horizontal(pl.col(*ROLES.values()).is_not_null()))
    return with_statistics(either.sort("listing_id"), statistics)


@dg.op(ins={"raw_listings": dg.In(metadata=only(*LANDED))})
def out_of_bounds_job(
    settings: Settings,
    rows: pl.DataFrame,
    raw_listings: pl.DataFrame,
    price_bounds: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    label_statistics: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
) -> OutOfBoundsJob:
    """All models, and the test listings whose sold price cleaning took for irrational."""
    statistics = {
        "marketplace": marketplace_statistics,
        "category": category_statistics,
        "seller": seller_statistics,
        "label": label_statistics,
    }
    models = pl.concat([percentile_pricing_models, threshold_pricing_models, baseline_pricing_models])
    prediction = PredictionJob(rows, models, settings.recipe, settings.artefacts)
    beyond = beyond_bounds(raw_listings, price_bounds, rows, statistics, settings.recipe.pricing.most_sold)
    return OutOfBoundsJob(prediction, beyond)


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_out_of_bounds(context: dg.OpExecutionContext, predicted: pl.DataFrame) -> pl.DataFrame:
    """Write the predictions."""
    context.add_output_metadata({"listings": predicted["listing_id"].n_unique() if predicted.height else 0})
    return predicted


out_of_bounds_predictions = op_chain(
    "out_of_bounds_predictions",
    "evaluation",
    """Every model's price for the test listings that cleaning took out for their sold price: one row per both.

With them `evaluation_reports` has the error over all landed prices, so that cleaning cannot flatter.""",
    [sold_features, out_of_bounds_job, predict_out_of_bounds, record_out_of_bounds],
)
