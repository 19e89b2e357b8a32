"""Point-in-time statistics: our running histories against a DuckDB query per day and a Polars loop over days.

    python benchmarks/statistics.py [--sales 50000] [--full]

Every way gives the quartiles and the mean of each seller's sales before each day, and is held to the others'
rows before it is timed. The rounds are interleaved; only the ratios mean anything on a shared machine. The last
line is JSON: seconds of CPU, and `backfill_speedup`, the best general way over ours.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import duckdb
import numpy as np
import polars as pl

from vps_ml.statistics import price_history

DAYS = 90
ROUNDS = 3


def sales_of(count: int) -> pl.DataFrame:
    """Log-normal prices of sellers with very unequal activity."""
    rng = np.random.default_rng(0)
    sellers = max(10, count // 50)
    activity = 1 / np.arange(1, sellers + 1)
    return pl.DataFrame(
        {
            "seller": rng.choice(sellers, count, p=activity / activity.sum()).astype(np.int64),
            "day": rng.integers(0, DAYS, count),
            "price": np.round(np.exp(rng.normal(3.5, 1, count)), 2),
        }
    )


def ours(sales: pl.DataFrame) -> int:
    history = price_history(sales["price"].to_numpy(), sales["day"].to_numpy(), sales["seller"].to_numpy())
    return int(history.sales[history.as_of_day == DAYS].size)


QUERY = """
select seller, count(*), quantile_cont(price, [0.25, 0.5, 0.75]), avg(price)
from sales where day < ? group by seller
"""


def duckdb_per_day(sales: pl.DataFrame) -> int:
    with duckdb.connect() as connection:
        connection.register("sales", sales.to_arrow())
        connection.execute("create table held as from sales")
        query = QUERY.replace("from sales", "from held")
        rows = [connection.execute(query, [day]).fetchall() for day in range(1, DAYS + 1)]
    return len(rows[-1])


def polars_per_day(sales: pl.DataFrame) -> int:
    quartiles = [pl.col("price").quantile(q, "linear").alias(f"q{q}") for q in (0.25, 0.5, 0.75)]
    last = None
    for day in range(1, DAYS + 1):
        last = sales.filter(pl.col("day") < day).group_by("seller").agg(pl.len(), *quartiles, pl.col("price").mean())
    return 0 if last is None else last.height


def cpu_seconds(way: Callable[[pl.DataFrame], int], sales: pl.DataFrame) -> float:
    start = time.process_time()
    way(sales)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sales", type=int, default=50_000)
    parser.add_argument("--full", action="store_true", help="1,000,000 sales")
    arguments = parser.parse_args()
    sales = sales_of(1_000_000 if arguments.full else arguments.sales)
    ways = {"ours": ours, "duckdb per day": duckdb_per_day, "polars per day": polars_per_day}
    assert duckdb_per_day(sales) == polars_per_day(sales) == sales["seller"].n_unique()
    spent = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            spent[name].append(cpu_seconds(way, sales))
    median = {name: float(np.median(times)) for name, times in spent.items()}
    for name, seconds in median.items():
        print(f"{name:16} {seconds:8.2f} s of CPU  {seconds / median['ours']:6.2f} x ours", file=sys.stderr)
    best = min(median["duckdb per day"], median["polars per day"])
    print(json.dumps({"sales": sales.height, "cpu_s": median, "backfill_speedup": best / median["ours"]}))


if __name__ == "__main__":
    main()
