"""What the report and the terminal read: the analysts' copy."""

from dataclasses import dataclass

import duckdb
import polars as pl

from vps_assets.home import Home
from vps_assets.tables.schemas import TABLES, types


class NothingEvaluated(LookupError):
    """There is no evaluation to report on, or none that this version understands."""


@dataclass(frozen=True)
class Published:
    """The tables that are reported on; empty where one has not been made yet."""

    tables: dict[str, pl.DataFrame]

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]


NEEDED = (
    "raw_listings",
    "clean_listings",
    "quarantined_listings",
    "task_backbones",
    "image_embeddings",
    "evaluation_reports",
    "evaluation_predictions",
    "ablation_reports",
    "champion_model",
    "corruption_reports",
    "price_suggestions",
)


def read_published(home: Home) -> Published:
    """Read the published tables, all as of one publication.

    Raises:
        NothingEvaluated: nothing has been published, no model has been evaluated, or an older version did it.
    """
    if not home.analytics.exists():
        raise NothingEvaluated(
            f"nothing has been evaluated in {home.path}: run `vps demo`, or `vps land` and `vps run`"
        )
    with duckdb.connect(str(home.analytics), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        there = {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}
        tables = {
            name: pl.DataFrame(connection.execute(f'from "{name}"').to_arrow_table())
            if name in there
            else pl.DataFrame(schema=types(TABLES[name]))
            for name in NEEDED
        }
    older = [name for name in NEEDED if set(types(TABLES[name])) - set(tables[name].columns)]
    if older:
        raise NothingEvaluated(f"{', '.join(older)} are as an older version wrote them: `vps run` makes them anew")
    if tables["evaluation_reports"].is_empty():
        raise NothingEvaluated("no model has been evaluated yet: `vps run` trains and evaluates")
    return Published(tables)
