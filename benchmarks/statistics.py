"""Point-in-time statistics: a backfill, one new day, and joining listings to them.

    python benchmarks/statistics.py [--sales 50000] [--full] [--growth 1000000 10000000]

Backfill: quartiles and mean of sold prices before each day, for the marketplace, every category and every seller; every
way is held to a brute-force oracle on a sample first. New day: the three assets' own code (read, compute, write) when a
day of sales lands, some of them up to a week late, on a short and on a tenfold history of the same daily sales. The
join: each listing to the three histories of its day, against Feast's point-in-time join where Feast is installed.
Growth: the assets' own code (read, compute, write all) on so many sales of a year, a twentieth as many sellers, each
asset in a process of its own, and what two sizes come to far beyond, if each further sale costs as much.
"""

import argparse
import multiprocessing
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from measure import cpu_seconds, interleaved, peak_mib, report, tell, tell_seconds, wall_seconds

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.statistics_state import KEYS, LABELS, correct_history
from vps_ml.features.statistics import History, price_history, with_statistics
from vps_ml.recipes import demo

DAYS = 90
ROUNDS = 3
GROUPS = ("marketplace", "category", "seller")
FIRST = date(2024, 1, 1)
LATE_DAYS = 7


def sales_of(count: int, days: int = DAYS, of: int | None = None) -> pl.DataFrame:
    """Sales at marketplaces' price points: halves below 100, fives above.

    With as many categories and sellers as a marketplace of `of` sales has (by default of `count`): 500 and 20,000 of a
    million.
    """
    rng = np.random.default_rng(0)
    of = of or count
    price = np.exp(rng.normal(3.5, 1, count))
    points = np.where(price < 100, np.round(price * 2) / 2, np.round(price / 5) * 5).clip(0.5)
    columns = {
        "marketplace": np.zeros(count, dtype=np.int64),
        "category": rng.integers(0, min(500, max(5, of // 200)), count),
        "seller": rng.integers(0, min(20_000, max(10, of // 50)), count),
        "day": rng.integers(0, days, count),
        "price": points,
    }
    return pl.DataFrame(columns)


def ours(sales: pl.DataFrame) -> dict[str, History]:
    price, day = sales["price"].to_numpy(), sales["day"].to_numpy()
    return {group: price_history(price, day, sales[group].to_numpy()) for group in GROUPS}


QUERY = """
select {group}, count(*) as sales, quantile_cont(price, [0.25, 0.5, 0.75]) as quartiles, avg(price) as mean
from held where day < ? group by {group}
"""


def duckdb_per_day(sales: pl.DataFrame) -> dict[tuple[str, int], pl.DataFrame]:
    found = {}
    with duckdb.connect() as connection:
        connection.register("sales", sales.to_arrow())
        connection.execute("create table held as from sales")
        for group in GROUPS:
            for day in range(1, DAYS + 1):
                rows = connection.execute(QUERY.format(group=group), [day]).to_arrow_table()
                found[group, day] = pl.DataFrame(rows)
    return found


def polars_per_day(sales: pl.DataFrame) -> dict[tuple[str, int], pl.DataFrame]:
    quartiles = [pl.col("price").quantile(q, "linear").alias(f"q{q}") for q in (0.25, 0.5, 0.75)]
    statistics = [pl.len().alias("sales"), *quartiles, pl.col("price").mean().alias("mean")]
    return {
        (group, day): sales.filter(pl.col("day") < day).group_by(group).agg(statistics)
        for group in GROUPS
        for day in range(1, DAYS + 1)
    }


def held_to_oracle(sales: pl.DataFrame, sampled: int = 60) -> None:
    """Every way's rows for sampled groups and days against numpy on the sales themselves."""
    histories, by_duckdb, by_polars = ours(sales), duckdb_per_day(sales), polars_per_day(sales)
    rng = np.random.default_rng(1)
    for group in GROUPS:
        history = histories[group]
        for i in rng.integers(0, history.sales.size, sampled // 3):
            number, day = int(history.group[i]), int(history.as_of_day[i])
            price = sales.filter(pl.col(group) == number, pl.col("day") < day)["price"].to_numpy()
            expected = np.array([*np.quantile(price, [0.25, 0.5, 0.75]), price.mean()])
            mine = [*history.quartiles[i], history.mean[i]]
            duck = by_duckdb[group, day].filter(pl.col(group) == number).row(0, named=True)
            polar = by_polars[group, day].filter(pl.col(group) == number).row(0)[2:]
            for found in (mine, [*duck["quartiles"], duck["mean"]], polar):
                np.testing.assert_allclose(found, expected, rtol=1e-12)


def clean_listings(sales: pl.DataFrame) -> pl.DataFrame:
    """The columns of `clean_listings` that statistics read; listed up to six days before they were sold."""
    delay = pl.Series(np.random.default_rng(2).integers(0, LATE_DAYS, sales.height))
    day = pl.lit(FIRST) + pl.duration(days=pl.col("day"))
    return sales.select(
        listed_on=(day - pl.duration(days=delay)).cast(pl.Date),
        sold_on=day.cast(pl.Date),
        sold_price="price",
        category=pl.format("category {}", "category"),
        seller_id=pl.format("seller {}", "seller"),
    )


@dataclass(frozen=True)
class NewDay:
    """A warehouse on the evening before, and the rows that a new day makes of `clean_listings`."""

    evening: Path
    morning: Path

    @classmethod
    def of(cls, folder: Path, daily: int, days: int) -> "NewDay":
        sales = sales_of(daily * (days + 1), days + 1, of=daily * DAYS)
        rng = np.random.default_rng(3)
        late = pl.Series((sales["day"].to_numpy() >= days - LATE_DAYS) & (rng.random(sales.height) < 0.01 / LATE_DAYS))
        listings = clean_listings(sales)
        new = (sales["day"] == days) | late
        warehouse = Warehouse(Home(folder / "evening"))
        put(warehouse, listings.filter(~new), "old")
        for asset in KEYS:
            correct_history(warehouse, asset, demo())
        shutil.copytree(folder / "evening", folder / "morning")
        changed = sorted(str(day) for day in listings.filter(new)["listed_on"].unique())
        put(Warehouse(Home(folder / "morning")), listings, "old", changed)
        tell(f"  {days} days of history, {listings.height:,} sales; {new.sum():,} new, {late.sum()} of them late")
        return cls(folder / "morning", folder / "work")

    def reset(self) -> None:
        shutil.rmtree(self.morning, ignore_errors=True)
        shutil.copytree(self.evening, self.morning)

    def correct(self) -> list:
        return [correct_history(Warehouse(Home(self.morning)), asset, demo()) for asset in KEYS]


def put(warehouse: Warehouse, listings: pl.DataFrame, version: str, changed: list[str] | None = None) -> None:
    dates = [str(day) for day in listings["listed_on"].unique()]
    made = {day: Fingerprint("new" if changed and day in changed else version) for day in dates}
    warehouse.replace("clean_listings", listings.sort("listed_on"), "true", [], made)


def new_day_growth(daily: int) -> dict[str, float]:
    """Seconds of CPU for the same new day on 9 and on 90 days of history, and their ratio."""
    spent: dict[int, list[float]] = {9: [], 90: []}
    with tempfile.TemporaryDirectory() as folder:
        days = {count: NewDay.of(Path(folder) / str(count), daily, count) for count in spent}
        for _ in range(ROUNDS + 2):
            for count, day in days.items():
                day.reset()
                spent[count].append(cpu_seconds(day.correct))
    short, long = (float(np.median(seconds)) for seconds in spent.values())
    return {"short_history_s": short, "long_history_s": long, "growth": long / short}


def statistics_tables(sales: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """(listings, the three statistics tables), as the price models join them."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Home(Path(folder)))
        listings = clean_listings(sales)
        put(warehouse, listings, "old")
        for asset in KEYS:
            correct_history(warehouse, asset, demo())
        tables = {asset.removesuffix("_statistics"): warehouse.read(asset) for asset in KEYS}
    return listings, {name: table for name, table in tables.items() if table is not None}


def feast_join(listings: pl.DataFrame, tables: dict[str, pl.DataFrame], folder: Path) -> pl.DataFrame | None:
    """Feast's point-in-time join of the category's and the seller's history; None where Feast is not installed."""
    try:
        from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
        from feast.types import Float64, Int64
    except ImportError:
        return None
    keys = {"category": "category", "seller": "seller_id"}
    config = RepoConfig(
        project="prices",
        registry=str(folder / "registry.db"),
        provider="local",
        offline_store={"type": "dask"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store, made, features = FeatureStore(config=config), [], []
    for name, key in keys.items():
        path = folder / f"{name}.parquet"
        tables[name].with_columns(pl.col("as_of").cast(pl.Datetime("us", "UTC"))).write_parquet(path)
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
        source = FileSource(name=f"{name}_source", path=str(path), timestamp_field="as_of")
        moments = ["q1", "median", "q3", "mean"]
        schema = [Field(name="sales", dtype=Int64), *(Field(name=m, dtype=Float64) for m in moments)]
        view = FeatureView(name=name, entities=[entity], ttl=timedelta(days=3650), schema=schema, source=source)
        made += [entity, view]
        features += [f"{name}:{m}" for m in ("sales", *moments)]
    store.apply(made)
    # a microsecond apart: Feast keeps one row of those that share a key and a moment
    moment = pl.col("listed_on").cast(pl.Datetime("us", "UTC")) + pl.duration(microseconds=pl.int_range(pl.len()))
    wanted = listings.select("category", "seller_id", event_timestamp=moment)
    joined = store.get_historical_features(wanted.to_pandas(), features, full_feature_names=True).to_df()
    return pl.from_pandas(joined)


def join_against_feast(count: int) -> dict[str, float | None]:
    listings, tables = statistics_tables(sales_of(count))
    mine = wall_seconds(partial(with_statistics, listings, tables))
    with tempfile.TemporaryDirectory() as folder:
        start = datetime.now()
        joined = feast_join(listings, tables, Path(folder))
        if joined is None:
            tell("  Feast is not installed: pip install feast==0.67.0")
            return {"join_s": mine, "feast_s": None, "join_speedup": None}
        theirs = (datetime.now() - start).total_seconds()
        served = joined.select(
            row=(pl.col("event_timestamp") - pl.col("event_timestamp").dt.truncate("1d")).dt.total_microseconds(),
            theirs="seller__sales",
        )
        own = (
            with_statistics(listings, tables).with_row_index("row").select(pl.col("row").cast(pl.Int64), "seller_sales")
        )
        both = served.with_columns(pl.col("row").cast(pl.Int64)).join(own, on="row")
        differ = both.filter(pl.col("theirs").fill_null(0) != pl.col("seller_sales")).height
        assert both.height == joined.height and not differ, f"the joins differ in {differ} rows"
        tell(f"  Feast returns {joined.height:,} of {listings.height:,} rows, all equal to ours")
    return {"join_s": mine, "feast_s": theirs, "join_speedup": theirs / mine}


def backfilled(count: int) -> None:
    ours(sales_of(count))


def rebuilt(home: str, asset: str) -> None:
    correct_history(Warehouse(Home(Path(home))), asset, demo())


def rebuilt_cpu_s(home: str, asset: str) -> float:
    return cpu_seconds(partial(rebuilt, home, asset))


def whole_cost(count: int) -> dict[str, dict[str, float]]:
    """Statistics table -> seconds of CPU, peak memory and rows, made from nothing on so many sales of a year."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        sales = sales_of(count, 365, of=count)
        sellers = pl.Series("seller", np.random.default_rng(5).integers(0, max(10, count // 20), count))
        put(Warehouse(Home(Path(folder))), clean_listings(sales.with_columns(sellers)), "old")
        del sales
        for asset in KEYS:
            if asset == LABELS:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                spent = pool.apply(rebuilt_cpu_s, (folder, asset))
            with Warehouse(Home(Path(folder))).connect(read_only=False) as connection:
                rows = connection.execute(f"select count(*) from {asset}").fetchall()[0][0]  # noqa: S608
                for table in (asset, f"state.{asset}"):
                    connection.execute(f"delete from {table}")  # noqa: S608
                connection.execute("delete from state.taken where asset = ?", [asset])
            found[asset] = {"cpu_s": spent, "mib": peak_mib(rebuilt, folder, asset), "rows": rows}
            tell(f"  {count:12,} sales: {asset:24} {spent:8.1f} s CPU, {found[asset]['mib']:6.0f} MiB, {rows:,} rows")
    return found


def growth_of(counts: Sequence[int]) -> dict[str, object]:
    """Costs at these sizes and, by what the sales between the last two cost each, far beyond them."""
    costs = {count: whole_cost(count) for count in counts}
    beyond: dict[str, dict[str, float]] = {}
    if len(counts) > 1:
        less, more = sorted(counts)[-2:]
        for asset in costs[more]:
            seconds = [costs[count][asset]["cpu_s"] for count in (less, more)]
            each = (seconds[1] - seconds[0]) / (more - less)
            beyond[asset] = {f"{count:,}": seconds[1] + each * (count - more) for count in (10**8, 10**9)}
            told = ", ".join(f"{value:,.0f} s at {count}" for count, value in beyond[asset].items())
            tell(f"  {asset:24} {each * 1e6:.2f} s CPU a million more; extrapolated {told}")
    return {"costs": {str(count): cost for count, cost in costs.items()}, "extrapolated": beyond}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=50_000)
    parser.add_argument("--full", action="store_true", help="1,000,000 sales")
    parser.add_argument("--growth", type=int, nargs="+", help="only this, at these numbers of sales")
    arguments = parser.parse_args()
    if arguments.growth:
        report(**growth_of(arguments.growth))
        return
    count = 1_000_000 if arguments.full else arguments.sales
    held_to_oracle(sales_of(min(count, 50_000)))
    sales = sales_of(count)
    tell(f"backfill of {count:,} sales, {sales['seller'].n_unique():,} sellers, {DAYS} days")
    ways = {"ours": ours, "DuckDB, a query per day": duckdb_per_day, "Polars, a loop over days": polars_per_day}
    spent = interleaved({name: partial(way, sales) for name, way in ways.items()}, ROUNDS)
    tell_seconds(spent, "ours")
    peak = peak_mib(backfilled, count)
    tell(f"  peak memory of ours {peak:.0f} MiB")
    tell("one new day")
    growth = new_day_growth(count // DAYS)
    tell(f"  {growth['short_history_s']:.3f} s CPU, on a tenfold history {growth['long_history_s']:.3f} s")
    joined = min(count, 200_000)  # Feast takes minutes for a million
    tell(f"joining {joined:,} listings to their histories")
    join = join_against_feast(joined)
    tell(f"  ours {join['join_s']:.2f} s, Feast {join['feast_s'] or float('nan'):.2f} s")
    report(
        sales=count,
        backfill_cpu_s=spent,
        backfill_speedup=min(value for name, value in spent.items() if name != "ours") / spent["ours"],
        backfill_peak_mib=peak,
        new_day=growth,
        new_day_growth=growth["growth"],
        **join,
    )


if __name__ == "__main__":
    main()
