"""What each asset is made of, and so what is out of date: the lineage as data.

An asset partition's *fingerprint* is a hash of its code version, its part of the recipe and the fingerprints of
the partitions it was made from. The warehouse records it in the transaction that writes the rows, so what is up
to date can be told without running anything, after a crash too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from vps_ml.recipes import Recipe
from vps_ml.store import identity

Fingerprints = dict[str, dict[str, str]]
"""Asset -> partition -> fingerprint; the partition of an unpartitioned asset is ""."""
WHOLE = ""


@dataclass(frozen=True)
class Node:
    """One asset."""

    parents: tuple[str, ...] = ()
    partitions: str = "none"
    """`day`, `task`, `coverage_target`, `error_tolerance` or `none`."""
    code_version: str = "1"
    recipe: Callable[[Recipe], object] = lambda recipe: None
    """The part of the recipe that the asset depends on."""
    frozen: bool = False
    """Made once and kept until it is asked for by name, its recipe changes or `vps run` finds it outgrown."""


STATISTICS = ("marketplace_statistics", "category_statistics", "seller_statistics")
PRICED_FROM = ("clean_listings", "image_embeddings", *STATISTICS)
MODELS = ("percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models")


def pricing_recipe(recipe: Recipe) -> object:
    return recipe.described()


LINEAGE: Mapping[str, Node] = {
    "raw_listings": Node(partitions="day"),
    "price_bounds": Node(
        ("raw_listings",),
        recipe=lambda r: (r.price_quantiles, r.train_share, r.validation_share),
        frozen=True,
    ),
    "clean_listings": Node(("raw_listings", "price_bounds"), "day"),
    "quarantined_listings": Node(("raw_listings", "price_bounds"), "day"),
    "marketplace_statistics": Node(("clean_listings",)),
    "category_statistics": Node(("clean_listings",)),
    "seller_statistics": Node(("clean_listings",)),
    "task_backbones": Node(("clean_listings",), "task", "2", recipe=lambda r: (vars(r.backbone), r.seed)),
    "image_embeddings": Node(("clean_listings", "task_backbones"), "day", recipe=lambda r: vars(r.backbone)),
    "percentile_pricing_models": Node(PRICED_FROM, "coverage_target", "2", recipe=pricing_recipe),
    "threshold_pricing_models": Node(PRICED_FROM, "error_tolerance", "2", recipe=pricing_recipe),
    "baseline_pricing_models": Node(PRICED_FROM, code_version="2", recipe=pricing_recipe),
    "evaluation_predictions": Node((*PRICED_FROM, *MODELS), code_version="2"),
    "evaluation_reports": Node(("clean_listings", "evaluation_predictions", *MODELS), code_version="2"),
    "ablation_reports": Node(PRICED_FROM, code_version="2", recipe=pricing_recipe),
    "champion_model": Node(("evaluation_reports", "percentile_pricing_models")),
    "champion_history": Node(("champion_model",)),
    "price_suggestions": Node((*PRICED_FROM, "champion_model"), "day"),
    # after the suggestions: what only informs must not hold up what sellers wait for
    "corruption_reports": Node((*PRICED_FROM, "champion_model")),
}


def own_part(asset: str, recipe: Recipe) -> str:
    """The part of a fingerprint that does not come from parents."""
    node = LINEAGE[asset]
    return identity(asset, node.code_version, node.recipe(recipe))


def landed_fingerprints(rows: pl.DataFrame) -> dict[str, str]:
    """Fingerprints of the dates of `raw_listings`: which landings its rows are from, and how many of each.

    Landings are immutable and a newer one only takes rows away from older ones, so the counts tell all.
    """
    counts = rows.group_by("listed_on", "landing_id").len().sort("listed_on", "landing_id")
    code = LINEAGE["raw_listings"].code_version
    by_day: dict[str, list] = {}
    for day, landing_id, count in counts.iter_rows():
        by_day.setdefault(str(day), []).append((landing_id, count))
    return {day: identity("raw_listings", code, landings) for day, landings in by_day.items()}


def fingerprint(asset: str, partition: str, recipe: Recipe, made_from: Fingerprints) -> str | None:
    """The fingerprint of one partition, given its parents'; None where it has nothing to be made from."""
    node = LINEAGE[asset]
    parts = []
    for parent in node.parents:
        by_partition = made_from.get(parent, {})
        same_day = node.partitions == "day" and LINEAGE[parent].partitions == "day"
        if same_day and partition not in by_partition:
            return None
        parts.append(by_partition[partition] if same_day else sorted(by_partition.items()))
    return identity(own_part(asset, recipe), partition, parts)


def desired_fingerprints(
    landed: dict[str, str], recorded: Fingerprints, recipe: Recipe, keys: Mapping[str, list[str]]
) -> Fingerprints:
    """What every partition's fingerprint would be after a full run on what has landed.

    `keys` has the partitions of each kind but `day`, whose are those that have landed.
    """
    desired: Fingerprints = {"raw_listings": landed}
    for asset, node in list(LINEAGE.items())[1:]:
        partitions = list(landed) if node.partitions == "day" else keys[node.partitions]
        if node.frozen:
            kept = recorded.get(asset, {}).get(WHOLE, "")
            own = own_part(asset, recipe)
            desired[asset] = {WHOLE: kept if kept.startswith(own) else own}
            continue
        made = {p: fingerprint(asset, p, recipe, desired) for p in partitions}
        desired[asset] = {partition: value for partition, value in made.items() if value is not None}
    return desired


def out_of_date(desired: Fingerprints, recorded: Fingerprints) -> dict[str, list[str]]:
    """Asset -> partitions to make: those whose recorded fingerprint is not the desired one, and those to empty."""
    stale = {}
    for asset in LINEAGE:
        want, have = desired.get(asset, {}), recorded.get(asset, {})
        differ = sorted(p for p in want.keys() | have.keys() if want.get(p) != have.get(p))
        if differ:
            stale[asset] = differ
    return stale


def ancestors(asset: str) -> set[str]:
    """All that an asset is made from, however far up."""
    found: set[str] = set()
    for parent in LINEAGE[asset].parents:
        found |= {parent} | ancestors(parent)
    return found


def selected(selection: str | None) -> set[str]:
    """Assets named by `A,B+,+C`: a `+` before takes what is upstream along, one after what is downstream.

    Raises:
        ValueError: a name is no asset.
    """
    if selection is None:
        return set(LINEAGE)
    chosen: set[str] = set()
    for term in selection.split(","):
        name = term.strip().strip("+")
        if name not in LINEAGE:
            raise ValueError(f"there is no asset {name!r}; there are {', '.join(LINEAGE)}")
        chosen.add(name)
        if term.strip().startswith("+"):
            chosen |= ancestors(name)
        if term.strip().endswith("+"):
            chosen |= {other for other in LINEAGE if name in ancestors(other)}
    return chosen
