"""Does the gate see bad photos? Test photos made worse on purpose, as the champion judges them."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion import folder_in_force
from vps_assets.assets.options import WAREHOUSE, WRITER, graph_options
from vps_assets.assets.pricing import featured_listings, with_photo_paths
from vps_assets.tables.splits import in_fixed_order, with_roles
from vps_assets.warehouse.io_manager import Settings
from vps_ml.artefacts import card
from vps_ml.features.dataset import unseen
from vps_ml.ops.corruptions import judge_corrupted_photos
from vps_ml.ops.suggestions import ChampionJob

PHOTOS = 150
"""So many test photos, an arbitrary but fixed choice: the standard error of a mean qualification is some .02."""


@dg.op
def corruption_job(
    settings: Settings,
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    champion_model: pl.DataFrame,
) -> ChampionJob:
    """Test listings of the champion's own split: neither it nor a backbone has seen them."""
    statistics = marketplace_statistics, category_statistics, seller_statistics
    featured = featured_listings(clean_listings, image_embeddings, *statistics)
    champion = folder_in_force(settings, champion_model)
    about = card(champion)
    tested = with_roles(featured).filter(pl.col(f"{about['split_kind']}_role") == "test")
    new_to_it = unseen(tested, settings.at.path, [about], about["split_kind"])
    rows = in_fixed_order(new_to_it).head(PHOTOS)
    return ChampionJob(with_photo_paths(rows, settings.at), str(champion), settings.home)


def summarised(judged: pl.DataFrame) -> pl.DataFrame:
    """One row per corruption and severity, severity 0 (the photos as they are) under each corruption."""
    before = judged.filter(pl.col("severity") == 0)
    names = judged.filter(pl.col("severity") > 0)["corruption"].unique().sort()
    starts = [before.with_columns(corruption=pl.lit(name)) for name in names]
    all_rows = pl.concat([*starts, judged.filter(pl.col("severity") > 0)])
    change = pl.col("qualification") - pl.col("before")
    return (
        all_rows.join(before.select("listing_id", before="qualification"), on="listing_id")
        .group_by("model_id", "corruption", "severity", "strength")
        .agg(
            photos=pl.len().cast(pl.Int64),
            qualification=pl.col("qualification").mean(),
            qualified_share=(pl.col("qualification") >= 0.5).mean(),
            change=change.mean(),
            change_error=(change.std() / pl.len().sqrt()).fill_null(0.0),
        )
        .sort("corruption", "severity")
    )


@dg.op(out=dg.Out(io_manager_key=WAREHOUSE), pool=WRITER)
def record_corruptions(context: dg.OpExecutionContext, judged: pl.DataFrame) -> pl.DataFrame:
    """Average over the photos, and write."""
    if judged.is_empty():
        return pl.DataFrame()
    rows = summarised(judged)
    context.add_output_metadata({"photos": rows["photos"].max()})
    return rows


@dg.graph_asset(**graph_options("corruption_reports", "evaluation", {"pytorch", "duckdb"}))
def corruption_reports(
    clean_listings: pl.DataFrame,
    image_embeddings: pl.DataFrame,
    marketplace_statistics: pl.DataFrame,
    category_statistics: pl.DataFrame,
    seller_statistics: pl.DataFrame,
    champion_model: pl.DataFrame,
) -> pl.DataFrame:
    """How the champion's qualification of test photos falls as they are blurred, darkened or cropped.

    Key: corruption and severity (0: as it is, 4: the worst).
    """
    statistics = marketplace_statistics, category_statistics, seller_statistics
    job = corruption_job(clean_listings, image_embeddings, *statistics, champion_model)
    return record_corruptions(judge_corrupted_photos(job))
