"""Fingerprints: what an asset partition was made from, and so whether it is out of date.

A *basis* is a hash of the asset's code version, its part of the recipe and the fingerprints of the partitions that it
was made from. The warehouse records it in the transaction that writes the rows, so what is up to date is clear
without running anything, after a crash too.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from vps_assets.lineage.graph import LINEAGE, STATISTICS, Node, ancestors
from vps_ml.cards import identity
from vps_ml.recipes import Recipe


@dataclass(frozen=True)
class Fingerprint:
    """What is recorded of a partition, or would be after a full run."""

    basis: str
    """Hash of what it was made from."""
    sales: int | None = None
    """Number of good sold listings at that time; None for an asset that is neither kept nor has a `content`."""
    content: str | None = None
    """Hash of what its children depend on; None if they depend on the basis."""

    @property
    def inherited(self) -> str:
        """The part that goes into the children's basis."""
        return self.basis if self.content is None else self.content

    @property
    def text(self) -> str:
        """All parts, for a child that follows every confirmation."""
        return self.basis if self.content is None else f"{self.basis}:{self.sales}:{self.content}"


Fingerprints = dict[str, dict[str, Fingerprint]]
"""Asset -> partition -> fingerprint; the partition of an unpartitioned asset is `WHOLE`."""


@dataclass(frozen=True)
class Records:
    """What the warehouse records of its tables."""

    made: Fingerprints = field(default_factory=dict)
    as_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Statistics table -> day -> digest of its rows as of that day and before, days ascending."""

    def updated(self, other: "Records") -> "Records":
        """These records, those of the other's tables replaced."""
        return Records(self.made | other.made, {**self.as_of, **other.as_of})


def cumulative(digests: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Day -> digest of all rows up to it, from the digests of each day's own rows."""
    found: dict[str, str] = {}
    before: str | None = None
    for day, digest in sorted(digests):
        before = found[day] = digest if before is None else identity(before, digest)
    return found


def own_part(asset: str, recipe: Recipe) -> str:
    """The part of a basis that does not come from parents."""
    return part_of(asset, LINEAGE[asset], recipe)


@cache
def part_of(asset: str, node: Node, recipe: Recipe) -> str:
    """The same of a node: a plan asks for it once for each partition and each asset below."""
    return identity(asset, node.code_version, node.recipe(recipe))


def landed_fingerprints(rows: pl.DataFrame) -> dict[str, Fingerprint]:
    """Fingerprints of the dates of `raw_listings`: which landings its rows are from, and how many of each.

    Landings are immutable and a newer one only takes rows away from older ones, so the counts are enough.
    """
    counts = rows.group_by("listed_on", "landing_id").len().sort("listed_on", "landing_id")
    code = LINEAGE["raw_listings"].code_version
    by_day: dict[str, list] = {}
    for day, landing_id, count in counts.iter_rows():
        by_day.setdefault(str(day), []).append((landing_id, count))
    return {day: Fingerprint(identity("raw_listings", code, landings)) for day, landings in by_day.items()}


def basis_of(asset: str, partition: str, recipe: Recipe, made_from: Records) -> str | None:
    """The partition's basis, given its parents' records; None if a parent has no such partition."""
    node = LINEAGE[asset]
    if node.kept_as:
        return kept_basis(asset, partition, recipe, made_from)
    parts: list[object] = []
    for parent in node.parents:
        by_partition = made_from.made.get(parent, {})
        if node.partitions == LINEAGE[parent].partitions == "day":
            if partition not in by_partition:
                return None
            parts.append(by_partition[partition].inherited)
        elif node.partitions == "day" and parent in STATISTICS:
            parts.append(statistics_until(parent, partition, recipe, made_from))
        elif node.follows_confirmation:
            parts.append(sorted((key, fingerprint.text) for key, fingerprint in by_partition.items()))
        else:
            parts.append(inherited(by_partition))
    return identity(own_part(asset, recipe), partition, parts)


def kept_basis(asset: str, partition: str, recipe: Recipe, made_from: Records) -> str:
    """The basis of a kept asset: the code and recipe of everything above it, and the content of `fitted_with`."""
    fitted_with = [inherited(made_from.made.get(parent, {})) for parent in LINEAGE[asset].fitted_with]
    above = ancestors(asset)
    code = [own_part(name, recipe) for name in LINEAGE if name in above]
    return identity(own_part(asset, recipe), partition, fitted_with, code)


def inherited(by_partition: Mapping[str, Fingerprint]) -> list[tuple[str, str]]:
    """What a child depends on of all partitions of a parent."""
    return sorted((partition, fingerprint.inherited) for partition, fingerprint in by_partition.items())


def statistics_until(asset: str, day: str, recipe: Recipe, made_from: Records) -> tuple[str, str]:
    """What a day's listings depend on of a statistics table: its rows as of that day and before."""
    digests = made_from.as_of.get(asset, {})
    days = list(digests)
    seen = bisect(days, day)
    return own_part(asset, recipe), digests[days[seen - 1]] if seen else ""
