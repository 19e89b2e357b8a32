"""Whether the gate recognises bad photos: test photos made worse on purpose, as the champion judges them."""

import dagster as dg
import polars as pl

from vps_assets.assets.champion_decisions import champion_of
from vps_assets.assets.features import sold_features
from vps_assets.assets.options import WAREHOUSE, WRITER, op_chain
from vps_assets.tables.splits import in_fixed_order
from vps_assets.warehouse.settings import Settings
from vps_ml.features.roles import unseen
from vps_ml.ops.corruptions import judge_corrupted_photos
from vps_ml.ops.suggestions import ChampionJob

PHOTOS = 150
"""Test photos, an arbitrary but fixed choice: the standard error of a mean qualification is some .02."""


@dg.op
def corruption_job(settings: Settings, rows: pl.DataFrame, champion_model: pl.DataFrame) -> ChampionJob:
    """Test listings of the own split of the photo's champion: neither it nor a backbone has seen them, as a refit has.

    Raises:
        dg.Failure: no model of the photo has been promoted.
    """
    champion = champion_of(champion_model, "photo")
    if champion is None:
        raise dg.Failure("There is no champion: materialise champion_model first.")
    model_id = champion["model_id"][0]
    card = settings.artefacts.models.card(model_id)
    tested = rows.filter(pl.col(f"{card['split_kind']}_role") == "test")
    new_to_it = unseen(tested, settings.artefacts, [card], card["split_kind"])
    return ChampionJob(in_fixed_order(new_to_it).head(PHOTOS), {"photo": model_id}, settings.artefacts)


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


corruption_reports = op_chain(
    "corruption_reports",
    "evaluation",
    """How the champion's qualification of test photos falls as they are blurred, darkened or cropped.

Its gate has learnt from training photos that were made worse in these ways (docs/adr/0021): other faults are not in it.
Key: corruption and severity (0: as it is, 4: the worst).""",
    [sold_features, corruption_job, judge_corrupted_photos, record_corruptions],
)
