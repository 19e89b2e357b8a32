"""The statistics tables as serving reads them: a group's rows are found without looking at the others'."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from vps_ml.features.tabular import GROUP_OF, HISTORIES, LABEL, LABEL_HISTORY, SAID_LABELS


@dataclass(frozen=True)
class Histories:
    """The tables of all histories, each sorted by its group."""

    tables: Mapping[str, pl.DataFrame]

    @classmethod
    def of(cls, tables: Mapping[str, pl.DataFrame]) -> "Histories":
        """The histories of statistics tables, which are sorted once."""
        return cls({name: tables[name] if key is None else tables[name].sort(key) for name, key in GROUP_OF.items()})

    def __getitem__(self, history: str) -> pl.DataFrame:
        return self.tables[history]

    def of_listings(self, listings: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """The rows of the groups that these listings are of, which are all that `with_statistics` reads of the tables.

        A marketplace of a million listings has 800,000 rows of statistics, and a listing is of a dozen groups.
        """
        groups = {key: listings[key].drop_nulls().unique() for key in HISTORIES.values() if key is not None}
        groups[LABEL_HISTORY] = labels_of(listings)
        return {
            name: self.tables[name] if key is None else rows_of(self.tables[name], key, groups[key])
            for name, key in GROUP_OF.items()
        }


def labels_of(listings: pl.DataFrame) -> pl.Series:
    """Every label of the listings, as the label statistics name it."""
    found = []
    for kind in SAID_LABELS:
        given = listings[kind]
        own = given.explode(empty_as_null=False) if given.dtype == pl.List else given
        found.append((f"{kind}{LABEL}" + own.drop_nulls()).alias("label"))
    return pl.concat(found).unique()


def rows_of(table: pl.DataFrame, key: str, groups: pl.Series) -> pl.DataFrame:
    """The rows of these groups of a table that is sorted by `key`."""
    first, after = (table[key].search_sorted(groups, side=side) for side in ("left", "right"))
    parts = [table[start:end] for start, end in zip(first, after, strict=True) if end > start]
    return pl.concat(parts) if parts else table.clear()
