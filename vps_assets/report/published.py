"""The tables that the report and the terminal show, read from the analysts' copy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.tables.splits import with_roles
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.photos.quality import QUALITY_COLUMNS


class NothingEvaluated(UserError):
    """There is no evaluation to report on."""


@dataclass(frozen=True)
class Published:
    """The tables that are reported on; empty if one has not been made yet."""

    tables: dict[str, pl.DataFrame]

    @cached_property
    def sides(self) -> pl.DataFrame:
        """The sold listings that take part in the split by group, with their side as `group_role`."""
        return with_roles(self["clean_listings"]).drop_nulls("group_role")

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]


REPORTED: Mapping[str, tuple[str, ...]] = {
    "raw_listings": ("sold_price",),
    "clean_listings": (
        *("listing_id", "listed_on", "category", "group_key", "photo_hash", "log_price", "sold_on"),
        *("split", "time_split", "currency", "title"),
    ),
    "quarantined_listings": ("listed_on",),
    "task_backbones": (),
    "image_embeddings": ("listing_id", *QUALITY_COLUMNS),
    "evaluation_reports": (),
    "evaluation_predictions": (),
    "ablation_reports": (),
    "words_reports": (),
    "model_comparisons": (),
    "champion_model": (),
    "range_adaptation": (),
    "corruption_reports": (),
    "advice_gains": (),
    "comparable_reports": (),
    "sale_chances": (),
    "sale_reports": (),
    "price_suggestions": ("qualified",),
    "suggestion_changes": (),
}
"""Table -> columns that are read of it; none named: all. Of tables that grow with the marketplace, what is shown."""


def read_published(home: Home) -> Published:
    """Read the published tables, all as of one publication.

    Raises:
        NothingEvaluated: nothing has been published, or no model has been evaluated.
    """
    if publication_of(Warehouse(home)).newest() is None:
        raise NothingEvaluated(
            f"nothing has been evaluated in {home.path}: run `vps demo`, or `vps land` and `vps run`"
        )
    with open_analytics(home) as analytics:
        tables = {name: analytics.table(name, columns=columns) for name, columns in REPORTED.items()}
    if tables["evaluation_reports"].is_empty():
        raise NothingEvaluated("no model has been evaluated yet: `vps run` trains and evaluates")
    return Published(tables)
