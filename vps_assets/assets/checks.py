"""Asset checks: every table holds to its schema, nothing landed is lost, no feature sees the future."""

from collections.abc import Iterable, Sequence
from math import isclose

import dagster as dg
import polars as pl

from vps_assets.lineage.graph import LINEAGE
from vps_assets.lineage.planning import ALL_DATES, RANGE_TAGS
from vps_assets.tables.schemas import TABLES, aligned, faults
from vps_assets.tables.splits import with_roles
from vps_assets.warehouse.catalogue import quoted
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.settings import Settings
from vps_assets.warehouse.statistics_state import KEYS, LABELS, corrected_since, source_of
from vps_ml.features.tabular import LABEL, SAID_LABELS

TWICE = "select listing_id, list(listed_on) from clean_listings group by 1 having count(*) > 1"
SAMPLED = 50
"""Rows of a statistics table whose prices a check recomputes."""


def run_window(context: dg.AssetCheckExecutionContext) -> tuple[str, list]:
    """The dates that this run wrote, as SQL; everything for a run without dates."""
    tags = context.run.tags if context.run else {}
    single = tags.get("dagster/partition")
    start, end = (tags.get(name, single) for name in RANGE_TAGS)
    if start is None or end is None:
        return "true", []
    return "listed_on between cast(? as date) and cast(? as date)", [start, end]


def written(asset: str, context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> tuple[str, list]:
    """The rows that the run wrote, as SQL: its dates, what it corrected, or the whole table."""
    if LINEAGE[asset].partitions == "day":
        return run_window(context)
    return last_correction(asset, warehouse) if asset in KEYS else ("true", [])


def last_correction(asset: str, warehouse: Warehouse) -> tuple[str, list]:
    """The rows of a statistics table that its last correction touched, as SQL."""
    since = corrected_since(warehouse, asset)
    return ("true", []) if since is None else ("as_of > ?", [since])


def schema_check(asset: str) -> dg.AssetChecksDefinition:
    """A blocking check that the table, as stored, holds to its pandera schema; daily tables for the run's dates."""

    @dg.asset_check(asset=asset, name="schema", blocking=True, description=f"{asset} holds to its pandera schema.")
    def check(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
        where, parameters = written(asset, context, settings.warehouse)
        rows = settings.warehouse.read(asset, where, parameters)
        wrong = "the table is missing" if rows is None else faults(aligned(rows, TABLES[asset]), TABLES[asset])
        count = 0 if rows is None else rows.height
        return dg.AssetCheckResult(passed=wrong is None, metadata={"rows": count, "faults": wrong or "none"})

    return check


def count_by_day(rows: pl.DataFrame | None) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"listed_on": pl.Date, "len": pl.UInt32})
    return empty if rows is None else rows.group_by("listed_on").len()


@dg.asset_check(asset="quarantined_listings", additional_deps=["clean_listings", "raw_listings"], blocking=True)
def landed_is_clean_plus_quarantined(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
    """Nothing is dropped silently: on each of the run's dates, landed rows = clean rows + quarantined rows."""
    where, parameters = run_window(context)
    tables = ("raw_listings", "clean_listings", "quarantined_listings")
    raw, clean, out = (count_by_day(settings.warehouse.read(table, where, parameters)) for table in tables)
    both = pl.concat([clean, out]).group_by("listed_on").agg(pl.col("len").sum().alias("kept"))
    compared = raw.join(both, on="listed_on", how="full", coalesce=True).fill_null(0)
    differ = compared.filter(pl.col("len") != pl.col("kept"))
    counts = {"landed": int(raw["len"].sum()), "clean": int(clean["len"].sum()), "quarantined": int(out["len"].sum())}
    days = ", ".join(str(day) for day in differ["listed_on"][:5])
    return dg.AssetCheckResult(passed=differ.is_empty(), metadata={**counts, "days that differ": days or "none"})


WRONG_COUNTS = """
with totals as (
    select {key} as key, sold_on + 1 as day, sum(count(*)) over (partition by {key} order by sold_on) as before
    from {source} where sold_on is not null and {key} is not null group by {key}, sold_on
)
select count(*) from (select *, {key} as key from {asset} where {where}) as rows
asof left join totals on rows.key = totals.key and rows.as_of >= totals.day
where rows.sales is distinct from coalesce(totals.before, 0)
"""
"""A row that had seen a sale of its own day or later would count one too many; one that missed a sale, one too few."""


def wrong_counts(warehouse: Warehouse, asset: str, where: str, parameters: list) -> int:
    """Rows whose count is not that of the group's sales with `sold_on < as_of`, counted without the algorithm."""
    key = quoted(column) if (column := KEYS[asset]) else "''"
    with warehouse.connect(read_only=True) as connection:
        query = WRONG_COUNTS.format(key=key, source=source_of(asset), asset=quoted(asset), where=where)
        return connection.execute(query, parameters).fetchall()[0][0]


def hindsight_rows(statistics: pl.DataFrame, sold: pl.DataFrame, key: str | None) -> list[dict]:
    """Rows of a sample whose quartiles or mean are not those of the group's sales with `sold_on < as_of`.

    Each is computed again from the sales alone, which finds a figure that had seen a later price.
    """
    sample = statistics.sample(min(SAMPLED, statistics.height), seed=0)
    wrong = []
    for row in sample.iter_rows(named=True):
        group = pl.col(key) == row[key] if key else pl.lit(True)
        earlier = sold.filter(group, pl.col("sold_on") < row["as_of"])["sold_price"]
        levels = {"q1": 0.25, "median": 0.5, "q3": 0.75}
        expected = {name: earlier.quantile(level, "linear") for name, level in levels.items()}
        expected["mean"] = float(earlier.to_numpy().mean()) if earlier.len() else None
        if any(value is None or not isclose(value, row[name], rel_tol=1e-9) for name, value in expected.items()):
            wrong.append(row)
    return wrong


def sales_of(warehouse: Warehouse, columns: Sequence[str]) -> pl.DataFrame | None:
    """The sales with these columns beside day and price, null where a table of older code lacks one; None: no table."""
    table = warehouse.read("clean_listings", "false")
    if table is None:
        return None
    there = [name for name in columns if name in table.columns]
    sold = warehouse.read("clean_listings", "sold_on is not null", columns=["sold_on", "sold_price", *there])
    assert sold is not None, "it was there"
    return sold.with_columns(pl.lit(None).alias(name) for name in columns if name not in there)


def of_each_label(sold: pl.DataFrame) -> pl.DataFrame:
    """The sales, once for each label of the item, with `label`; not by the SQL that the statistics are made with."""
    parts = []
    for kind in SAID_LABELS:
        own = pl.col(kind) if sold.schema[kind] == pl.List else pl.concat_list(pl.col(kind).cast(pl.String))
        each = sold.with_row_index("item").select("item", "sold_on", "sold_price", label=own)
        each = each.explode("label", empty_as_null=False).drop_nulls("label").unique(["item", "label"])
        parts.append(each.select("sold_on", "sold_price", label=pl.lit(f"{kind}{LABEL}") + pl.col("label")))
    return pl.concat(parts)


def leak_check(asset: str) -> dg.AssetChecksDefinition:
    """A blocking check that no row of a statistics table could have seen a sale of its day or later."""

    @dg.asset_check(
        asset=asset,
        name="sees_no_sale_of_its_day_or_later",
        blocking=True,
        description="Each row the run wrote is of exactly the sales with sold_on < as_of: all counts, sampled prices.",
    )
    def check(settings: Settings) -> dg.AssetCheckResult:
        warehouse, key = settings.warehouse, KEYS[asset]
        where, parameters = last_correction(asset, warehouse)
        rows = warehouse.read(asset, where, parameters)
        sold = sales_of(warehouse, list(SAID_LABELS) if asset == LABELS else [key] if key else [])
        if rows is None or sold is None:
            return dg.AssetCheckResult(passed=False, metadata={"faults": "the table is missing"})
        counts = wrong_counts(warehouse, asset, where, parameters)
        prices = len(hindsight_rows(rows, of_each_label(sold) if asset == LABELS else sold, key))
        figures = {"rows": rows.height, "wrong counts": counts, f"wrong prices among {SAMPLED}": prices}
        return dg.AssetCheckResult(passed=not counts and not prices, metadata=figures)

    return check


@dg.asset_check(asset="clean_listings", name="splits_are_disjoint", blocking=True)
def splits_are_disjoint(settings: Settings) -> dg.AssetCheckResult:
    """No group and no photo is on two sides of a split; no sale that trains or calibrates is of a test day or later."""
    columns = ["listed_on", "sold_on", "log_price", "split", "time_split", "group_key", "photo_hash"]
    clean = settings.warehouse.read("clean_listings", columns=columns)
    if clean is None or clean.is_empty():
        return dg.AssetCheckResult(passed=True, metadata={"rows": 0})
    rows = with_roles(clean)
    crossing = sum(
        rows.drop_nulls(role).group_by(key).agg(pl.col(role).n_unique()).filter(pl.col(role) > 1).height
        for role in ("group_role", "time_role")
        for key in ("group_key", "photo_hash")
    )
    last = rows.filter(pl.col("time_role").is_in(["train", "validation"]))["sold_on"].max()
    first = rows.filter(pl.col("time_role") == "test")["listed_on"].min()
    in_order = last is None or first is None or bool(last < first)  # type: ignore[operator]
    return dg.AssetCheckResult(
        passed=crossing == 0 and in_order,
        metadata={
            "crossing groups or photos": crossing,
            "last sale before testing": str(last),
            "first test day": str(first),
        },
    )


@dg.asset_check(asset="clean_listings", name="listing_is_on_one_date", blocking=True)
def listing_is_on_one_date(context: dg.AssetCheckExecutionContext, settings: Settings) -> dg.AssetCheckResult:
    """No listing is on two dates: one that was listed again has left its old date (materialise that date too).

    A warning if the run belongs to a set that covers every out-of-date listing date: between two runs of the set a
    listing may be on its old date and its new one, and no order of the dates would suit all listings that move.
    """
    clean = settings.warehouse.read("clean_listings", columns=["listing_id", "listed_on"])
    rows = pl.DataFrame(schema={"listing_id": pl.String, "listed_on": pl.Date}) if clean is None else clean
    twice = rows.filter(pl.col("listing_id").is_duplicated()).sort("listing_id", "listed_on")
    in_between = context.run is not None and ALL_DATES in context.run.tags
    return dg.AssetCheckResult(
        passed=twice.is_empty(),
        severity=dg.AssetCheckSeverity.WARN if in_between else dg.AssetCheckSeverity.ERROR,
        metadata={
            "dates to materialise": ", ".join(map(str, twice["listed_on"].unique().sort())) or "none",
            "listings": twice["listing_id"].n_unique(),
            "which, in warehouse.duckdb": TWICE,  # no ids: what Dagster records outlives a seller who is forgotten
        },
    )


def all_checks() -> Iterable[dg.AssetChecksDefinition]:
    yield from (schema_check(asset) for asset in LINEAGE)
    yield from (leak_check(asset) for asset in KEYS)
    yield landed_is_clean_plus_quarantined
    yield splits_are_disjoint
    yield listing_is_on_one_date
