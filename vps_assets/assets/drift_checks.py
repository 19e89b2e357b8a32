"""Checks for data that change: they warn, and block nothing.

What is wrong blocks (`checks.py`): a broken schema, a lost row, a feature that sees the future would make every figure
made from it false. What is unusual warns: a market may change overnight and be right, and open listings should be
priced while somebody looks.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import sqrt

import dagster as dg
import polars as pl

from vps_assets.assets.checks import run_window
from vps_assets.assets.evaluation import ALL
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.settings import Settings
from vps_ml.backbones.files import gathered
from vps_ml.evaluation.drift import mean_shift, population_stability
from vps_ml.pricing.variants import SERVED_COVERAGE

BEFORE_DAYS = 28
"""The days before the newest that say what is usual."""
NEWEST_DAYS = 7
"""Prices, photos and suggestions are compared over a week, so that weekends do not look like drift."""
FEWEST_DAYS = 7
FEWEST_ROWS = 30
TOO_FEW, TOO_MANY = 1 / 3, 3.0
"""Times the median day."""
LABELS = ("brand", "seller_id", "attributes", "specifications")
MORE_MISSING = 0.2
"""Increase of the share of rows that lack a label."""
MOST_KEPT_OUT = 0.2
PSI_SHIFT = 0.25
MEAN_SHIFT = 0.25
MOST_PHOTOS = 2000
COVERAGE_OFF = 0.1
QUALIFIED_OFF = 0.2
NEWEST_SALES, FEWEST_SALES = 500, 50
"""Of the newest sales, at least so many are judged; a category with fewer than the second says nothing."""
RANGE_OFF = 0.03


def warning_if(unusual: list[str], figures: Mapping[str, float] | None = None) -> dg.AssetCheckResult:
    """A check that passes if nothing is unusual, and else warns with what is; `figures` are shown either way."""
    metadata: dict[str, float | str] = {"unusual": "; ".join(unusual) or "nothing", **(figures or {})}
    return dg.AssetCheckResult(passed=not unusual, severity=dg.AssetCheckSeverity.WARN, metadata=metadata)


def usual_and_new(
    context: dg.AssetCheckExecutionContext, warehouse: Warehouse, table: str, columns: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the days before the newest that the run wrote, rows of that day); today is left out: it is not complete.

    The newest alone, so that a backfill of years is judged once.
    """
    where, parameters = run_window(context)
    rows = warehouse.read(table, f"{where} and listed_on < ?", [*parameters, datetime.now(UTC).date()], ["listed_on"])
    newest = None if rows is None else rows["listed_on"].max()
    if newest is None:
        empty = pl.DataFrame(schema={"listed_on": pl.Date})
        return empty, empty
    first = newest - timedelta(days=BEFORE_DAYS)  # type: ignore[operator]
    window = warehouse.read(table, "listed_on between ? and ?", [first, newest], ["listed_on", *columns])
    assert window is not None
    return window.filter(pl.col("listed_on") < newest), window.filter(pl.col("listed_on") == newest)


@dg.asset_check(asset="raw_listings")
def as_many_rows_as_usual(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
    """The newest day brought between a third and three times the rows of the median day before it."""
    before, now = usual_and_new(context, settings.warehouse, "raw_listings", [])
    by_day = before.group_by("listed_on").len()
    if by_day.height < FEWEST_DAYS:
        return warning_if([], {"days before": by_day.height})
    median = float(by_day["len"].median())  # type: ignore[arg-type]
    odd = not TOO_FEW * median <= now.height <= TOO_MANY * median
    unusual = [f"{now.height} rows where {median:.0f} are usual"] if odd else []
    return warning_if(unusual, {"rows": now.height, "usual": median})


@dg.asset_check(asset="clean_listings")
def labels_are_there(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
    """No label is missing from a fifth more of the newest day's rows than of the days' before it."""
    before, now = usual_and_new(context, settings.warehouse, "clean_listings", list(LABELS))
    if min(before.height, now.height) < FEWEST_ROWS:
        return warning_if([], {"rows": now.height})
    shares = {label: (missing_share(before, label), missing_share(now, label)) for label in LABELS}
    odd = [
        f"{label}: {now:.0%} missing, {was:.0%} before"
        for label, (was, now) in shares.items()
        if now > was + MORE_MISSING
    ]
    return warning_if(odd, {"rows": now.height})


def missing_share(rows: pl.DataFrame, label: str) -> float:
    """Share of rows without the label; an empty list of labels is none."""
    missing = pl.col(label).is_null()
    if rows.schema[label] == pl.List:
        missing = missing | (pl.col(label).list.len() == 0)
    return float(rows.select(missing.mean()).item())


@dg.asset_check(asset="quarantined_listings", additional_deps=["raw_listings"])
def few_rows_are_kept_out(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
    """Under a fifth of the newest day's rows are quarantined."""
    _, now = usual_and_new(context, settings.warehouse, "raw_listings", [])
    if now.height < FEWEST_ROWS:
        return warning_if([], {"rows": now.height})
    day = now["listed_on"][0]
    out = settings.warehouse.read("quarantined_listings", "listed_on = ?", [day], ["reasons"])
    share = (out.height if out is not None else 0) / now.height
    reasons = [] if out is None else out["reasons"].explode().value_counts(sort=True)["reasons"].head(3).to_list()
    odd = [f"{share:.0%} of {day} are kept out, most of them: {', '.join(reasons)}"] if share > MOST_KEPT_OUT else []
    return warning_if(odd, {"share": share})


@dg.asset_check(asset="clean_listings")
def prices_are_as_they_were(settings: Settings) -> dg.AssetCheckResult:
    """No category's newest sold prices are distributed unlike those of training (PSI above .25 and chance)."""
    columns = ["category", "sold_on", "log_price", "time_split"]
    sold = settings.warehouse.read("clean_listings", "sold_on is not null", columns=columns)
    if sold is None or sold.is_empty():
        return warning_if([])
    since = sold["sold_on"].max() - timedelta(days=NEWEST_DAYS)  # type: ignore[operator]
    trained = sold.filter(pl.col("time_split") == "train", pl.col("sold_on") <= since)
    shifts, odd = {}, []
    for (category,), rows in sold.filter(pl.col("sold_on") > since).partition_by("category", as_dict=True).items():
        before = trained.filter(pl.col("category") == category)["log_price"].to_numpy()
        now = rows["log_price"].to_numpy()
        if min(before.size, now.size) >= FEWEST_ROWS:
            drift = shifts[category] = population_stability(before, now)
            if drift.beyond(PSI_SHIFT):
                odd.append(f"{category}: PSI {drift.size:.2f} (by chance {drift.by_chance:.2f})")
    return warning_if(odd, {"categories": len(shifts)})


@dg.asset_check(asset="image_embeddings")
def photos_are_as_they_were(settings: Settings) -> dg.AssetCheckResult:
    """The mean embedding of the newest days is within a quarter of the spread of that of earlier days."""
    columns = ["listed_on", "path", "row", "tasks", "embedding_id"]
    stored = settings.warehouse.read("image_embeddings", columns=columns)
    if stored is None or stored.is_empty():
        return warning_if([])
    newest = stored.filter(pl.col("listed_on") == pl.col("listed_on").max())["embedding_id"][0]
    stored = stored.filter(pl.col("embedding_id") == newest)
    since = stored["listed_on"].max() - timedelta(days=NEWEST_DAYS)  # type: ignore[operator]
    parts = [stored.filter(pl.col("listed_on") <= since), stored.filter(pl.col("listed_on") > since)]
    if min(part.height for part in parts) < FEWEST_ROWS:
        return warning_if([], {"photos": stored.height})
    features = []
    for part in parts:
        sample = part.sample(min(MOST_PHOTOS, part.height), seed=0).sort("path", "row")
        files = [settings.artefacts.embedding_file(path) for path in sample["path"]]
        features.append(gathered(files, sample["row"].to_list(), sample["tasks"][0].to_list()).astype("float64"))
    drift = mean_shift(*features)
    odd = (
        [f"the mean moved by {drift.size:.2f} spreads (by chance {drift.by_chance:.2f})"]
        if drift.beyond(MEAN_SHIFT)
        else []
    )
    return warning_if(odd, {"shift": drift.size})


@dg.asset_check(asset="evaluation_reports")
def coverage_is_what_was_asked_for(settings: Settings) -> dg.AssetCheckResult:
    """Each percentile model qualifies its target share δ of the test photos, within a tenth and chance."""
    columns = ["constraint_kind", "segment", "objective", "split_kind", "constraint_value", "coverage", "tested"]
    where = "constraint_kind = 'percentile' and segment = ?"
    reports = settings.warehouse.read("evaluation_reports", where, [ALL], columns)
    odd = [
        f"{row['objective']}, {row['split_kind']} split, δ {row['constraint_value']}: coverage {row['coverage']:.0%}"
        for row in (reports.to_dicts() if reports is not None else ())
        if off_target(row["coverage"], row["constraint_value"], row["tested"], COVERAGE_OFF)
    ]
    return warning_if(odd)


@dg.asset_check(asset="price_suggestions")
def sellers_get_prices(settings: Settings) -> dg.AssetCheckResult:
    """The share of the newest days' open listings that get a price is near the served model's target."""
    suggested = settings.warehouse.read("price_suggestions", columns=["listed_on", "qualified"])
    if suggested is None or suggested.height < FEWEST_ROWS:
        return warning_if([])
    since = suggested["listed_on"].max() - timedelta(days=NEWEST_DAYS)  # type: ignore[operator]
    qualified = suggested.filter(pl.col("listed_on") > since)["qualified"]
    share = float(qualified.mean())  # type: ignore[arg-type]
    odd = off_target(share, SERVED_COVERAGE, qualified.len(), QUALIFIED_OFF)
    unusual = [f"{share:.0%} get a price, {SERVED_COVERAGE:.0%} should"] if odd else []
    return warning_if(unusual, {"qualified": share})


@dg.asset_check(asset="range_adaptation")
def ranges_hold(settings: Settings) -> dg.AssetCheckResult:
    """Over the newest days, in all and in categories with enough sales, as many sell within their range as promised."""
    rows = settings.warehouse.read("range_adaptation")
    if rows is None or rows.is_empty():
        return warning_if([])
    tested = rows.filter(pl.col("tested") > 0, pl.col("model_id") == rows["model_id"][0])
    whole = tested.filter(pl.col("segment") == ALL)
    days = whole.sort("as_of", descending=True).filter(pl.col("tested").cum_sum() - pl.col("tested") < NEWEST_SALES)
    newest = tested.filter(pl.col("as_of").is_in(days["as_of"].implode()))
    level = rows["range_level"][0]
    odd, shares = [], {}
    for row in newest.group_by("segment").agg(pl.sum("tested", "covered")).sort("segment").to_dicts():
        allowed = RANGE_OFF if row["segment"] == ALL else 0.0
        shares[row["segment"]] = share = row["covered"] / row["tested"]
        if row["tested"] >= FEWEST_SALES and off_target(share, level, row["tested"], allowed):
            odd.append(f"{row['segment']}: {share:.0%} of {row['tested']} within their {level:.0%} range")
    return warning_if(odd, {"within their range": shares.get(ALL, level)})


def off_target(share: float, target: float, count: int, allowed: float) -> bool:
    """Whether a share of `count` differs from its target by more than is allowed and three standard errors."""
    return abs(share - target) > allowed + 3 * sqrt(target * (1 - target) / max(count, 1))


def all_warnings() -> Iterable[dg.AssetChecksDefinition]:
    yield from (as_many_rows_as_usual, labels_are_there, few_rows_are_kept_out, prices_are_as_they_were)
    yield from (photos_are_as_they_were, coverage_is_what_was_asked_for, sellers_get_prices, ranges_hold)
