"""Whether the gate recognises bad photos: test photos made worse on purpose, as the champion judges them."""

import dagster as dg
import numpy as np
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
AVERAGE = "average"
"""In `corruption`: each photo's mean over all corruptions of a severity."""


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
    """One row per corruption and severity, severity 0 (the photos as they are) under each, and `AVERAGE` of them all.

    What changes is paired: errors are of the differences that the same photos show.
    """
    worse = judged.filter(pl.col("severity") > 0).sort("corruption", "severity", "listing_id")
    before = judged.filter(pl.col("severity") == 0).sort("listing_id")["qualification"].to_numpy()[None]
    strengths, by_name = {}, {}
    for (name,), photos in worse.partition_by("corruption", as_dict=True, maintain_order=True).items():
        each = photos.unique("severity", maintain_order=True)
        strengths[str(name)] = [None, *each["strength"]]
        by_name[str(name)] = np.concatenate([before, photos["qualification"].to_numpy().reshape(each.height, -1)])
    taken = {name: (values >= 0.5).astype(float) for name, values in by_name.items()}
    names = [*by_name, AVERAGE]
    for values in (by_name, taken):
        values[AVERAGE] = np.mean(list(values.values()), axis=0)
    rows = [
        {"model_id": judged["model_id"][0], "corruption": name, "severity": severity, "photos": before.size}
        | {"strength": strengths[name][severity] if name in strengths else None}
        | moves("qualification", "", by_name[name], severity)
        | moves("qualified_share", "share_", taken[name], severity)
        for name in names
        for severity in range(len(by_name[name]))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def moves(figure: str, prefix: str, values: np.ndarray, severity: int) -> dict[str, float | None]:
    """A figure's mean at a severity, its change from the photos as they are, and its rise from where it was lowest.

    Args:
        figure: its column.
        prefix: of the other columns.
        values: (severities, photos).
        severity: which.
    """
    milder = values[:severity]
    lowest = milder[milder.mean(axis=1).argmin()] if severity else None
    found: dict[str, float | None] = {figure: float(values[severity].mean())}
    for name, since in (("change", values[0]), ("rise", lowest)):
        moved = None if since is None else values[severity] - since
        found[f"{prefix}{name}"] = None if moved is None else float(moved.mean())
        found[f"{prefix}{name}_error"] = None if moved is None else error_of(moved, of_shares=bool(prefix))
    return found


def error_of(moved: np.ndarray, *, of_shares: bool) -> float:
    """The standard error of the mean of paired differences.

    Of shares with half a photo more for each way that a pair can go, so that it is not 0 where all go one way (Agresti
    and Min, Effects and non-effects of paired identical observations, 2005).
    """
    if of_shares:
        return float(np.sqrt((np.square(moved - moved.mean()).sum() + 1) / (moved.size + 2) / moved.size))
    return float(moved.std(ddof=1) / moved.size**0.5) if moved.size > 1 else 0.0


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
Key: corruption (with the average of all) and severity (0: as it is, 4: the worst).""",
    [sold_features, corruption_job, judge_corrupted_photos, record_corruptions],
)
