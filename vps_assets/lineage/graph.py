"""What each asset is made of, and so what is out of date: the lineage as data.

An asset partition's *fingerprint* is a hash of its code version, its part of the recipe and the fingerprints of
the partitions it was made from. The warehouse records it in the transaction that writes the rows, so what is up
to date can be told without running anything, after a crash too.
"""

from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from vps_assets.lineage.retraining import DEFAULT, Patience
from vps_ml.artefacts import identity
from vps_ml.recipes import Recipe

Fingerprints = dict[str, dict[str, str]]
"""Asset -> partition -> fingerprint; the partition of an unpartitioned asset is ""."""
ALL_DATES = "vps/all_dates"
"""Tag of a run that is one of those that make every date that is out of date, before anything is made of them."""
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
    kept_as: str | None = None
    """Fitted on data, and then kept: until it is asked for by name, until the sales outgrow it (`backbones` or
    `price_models` of `lineage.retraining`), or until its code, its recipe or one of `fitted_with` changes. None:
    made anew when a parent is."""
    fitted_with: tuple[str, ...] = ()
    """What a kept asset cannot outlive, its parents' data aside."""
    notes_confirmation: bool = False
    """Whether it is made anew when a parent was made anew and says the same."""
    content: tuple[str, ...] = ()
    """Columns that say what its children see; empty where they see all that it was made from."""


STATISTICS = ("marketplace_statistics", "category_statistics", "seller_statistics")
PRICED_FROM = ("clean_listings", "image_embeddings", *STATISTICS)
MODELS = ("percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models")


def pricing_recipe(recipe: Recipe) -> object:
    return recipe.described()


def price_models(partitions: str = "none") -> Node:
    """Price models: kept until the sales outgrow them, or the features or the cleaning are others."""
    return Node(
        PRICED_FROM,
        partitions,
        code_version="3",
        recipe=pricing_recipe,
        kept_as="price_models",
        fitted_with=("price_bounds", "task_backbones"),
        content=("model_id",),
    )


LINEAGE: Mapping[str, Node] = {
    "raw_listings": Node(partitions="day"),
    "price_bounds": Node(
        ("raw_listings",),
        recipe=lambda r: (r.price_quantiles, r.train_share, r.validation_share),
        kept_as="backbones",
        content=("lower_price", "upper_price", "train_until", "validation_until", "train_share", "validation_share"),
    ),
    "clean_listings": Node(("raw_listings", "price_bounds"), "day"),
    "quarantined_listings": Node(("raw_listings", "price_bounds"), "day"),
    "marketplace_statistics": Node(("clean_listings",), code_version="2"),
    "category_statistics": Node(("clean_listings",), code_version="2"),
    "seller_statistics": Node(("clean_listings",), code_version="2"),
    "task_backbones": Node(
        ("clean_listings",),
        "task",
        "3",
        recipe=lambda r: (vars(r.backbone), r.seed),
        kept_as="backbones",
        fitted_with=("price_bounds",),
        content=("backbone_id",),
    ),
    "image_embeddings": Node(("clean_listings", "task_backbones"), "day", "2", recipe=lambda r: vars(r.backbone)),
    "percentile_pricing_models": price_models("coverage_target"),
    "threshold_pricing_models": price_models("error_tolerance"),
    "baseline_pricing_models": price_models(),
    "evaluation_predictions": Node((*PRICED_FROM, *MODELS), code_version="3"),
    "evaluation_reports": Node(("clean_listings", "evaluation_predictions", *MODELS), code_version="2"),
    "ablation_reports": price_models(),
    "champion_model": Node(
        (*PRICED_FROM, "evaluation_reports", "percentile_pricing_models"),
        code_version="3",
        content=("model_id", "path"),
    ),
    "champion_history": Node(("champion_model",), code_version="3", notes_confirmation=True),
    "price_suggestions": Node((*PRICED_FROM, "champion_model"), "day"),
    # after the suggestions: what only informs must not hold up what sellers wait for
    "corruption_reports": Node(
        (*PRICED_FROM, "champion_model"), kept_as="price_models", fitted_with=("champion_model",)
    ),
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
    """What the partition would be made from, given its parents' fingerprints; None where there is nothing."""
    node = LINEAGE[asset]
    if node.kept_as:
        fitted_with = [[(p, told(f)) for p, f in sorted(made_from.get(a, {}).items())] for a in node.fitted_with]
        above = ancestors(asset)
        code = [own_part(name, recipe) for name in LINEAGE if name in above]
        return identity(own_part(asset, recipe), partition, fitted_with, code)
    parts: list[object] = []
    for parent in node.parents:
        by_partition = made_from.get(parent, {})
        if node.partitions == LINEAGE[parent].partitions == "day":
            if partition not in by_partition:
                return None
            parts.append(told(by_partition[partition]))
        elif node.partitions == "day" and parent in STATISTICS:
            parts.append(statistics_until(parent, partition, recipe, made_from))
        else:
            parts.append(sorted((p, f if node.notes_confirmation else told(f)) for p, f in by_partition.items()))
    return identity(own_part(asset, recipe), partition, parts)


def told(recorded: str) -> str:
    """The part of a recorded fingerprint that children are made from: what the asset says, where that is recorded."""
    return recorded.rpartition(":")[2]


def recorded_as(basis: str, sales: int, content: str) -> str:
    """How a fingerprint is recorded of an asset that is kept, or whose children follow its content."""
    return f"{basis}:{sales}:{content}"


def as_of(asset: str) -> str:
    """The pseudo-asset under which it is recorded what a statistics table says, by the day as of which it says it."""
    return f"{asset} as of"


def statistics_until(asset: str, day: str, recipe: Recipe, made_from: Fingerprints) -> object:
    """What a day's listings see of a statistics table: its rows as of that day and before."""
    said = made_from.get(as_of(asset), {})
    days = list(said)
    seen = bisect(days, day)
    return own_part(asset, recipe), said[days[seen - 1]] if seen else ""


def by_asset(made: Iterable[tuple[str, str, str]]) -> Fingerprints:
    """Recorded (asset, partition, fingerprint) as fingerprints; what a table says as of a day is cumulative."""
    found: Fingerprints = {}
    cumulative = {as_of(asset) for asset in STATISTICS}
    for asset, partition, value in sorted(made):
        earlier = found.setdefault(asset, {})
        if asset in cumulative and earlier:
            value = identity(next(reversed(earlier.values())), value)
        earlier[partition] = value
    return found


def desired_fingerprints(
    landed: dict[str, str],
    sales: int,
    recorded: Fingerprints,
    recipe: Recipe,
    keys: Mapping[str, list[str]],
    bears: Mapping[str, Patience] | None = None,
    kept: Collection[str] = (),
) -> Fingerprints:
    """What every partition's fingerprint would be after a full run on what has landed.

    Args:
        landed: fingerprints of the dates of `raw_listings`.
        sales: how many good sold listings have landed.
        recorded: what the warehouse holds now: what is kept, and what was decided last.
        recipe: in force.
        keys: the partitions of each kind but `day`, whose are those that have landed.
        bears: how many new sales each fitted asset bears; by default as the retraining defaults say.
        kept: assets that stay as they are, where they are there, whatever they would be made from now.
    """
    bears = patience_by_asset(DEFAULT) if bears is None else bears
    desired: Fingerprints = {"raw_listings": landed}
    for asset, node in list(LINEAGE.items())[1:]:
        partitions = list(landed) if node.partitions == "day" else keys[node.partitions]
        if asset in STATISTICS:  # what the table says is known once it is made: layers are planned one by one
            desired[as_of(asset)] = recorded.get(as_of(asset), {})
        made = {p: fingerprint(asset, p, recipe, desired) for p in partitions}
        have = recorded.get(asset, {})
        patience = bears.get(asset)
        told = {p: still(patience, basis, sales, have.get(p, "")) for p, basis in made.items() if basis}
        desired[asset] = told | have if asset in kept else told
    return {asset: desired[asset] for asset in LINEAGE}


def still(patience: Patience | None, basis: str, sales: int, recorded: str) -> str:
    """The recorded fingerprint where it is of this basis and not outgrown, else the basis."""
    of, _, rest = recorded.partition(":")
    if of != basis or not rest:
        return basis
    fitted_on = int(rest.partition(":")[0])
    return basis if patience and patience.outgrown(sales, fitted_on) else recorded


def patience_by_asset(patience: Mapping[str, Patience]) -> dict[str, Patience]:
    """How many new sales each kept asset bears."""
    return {asset: patience[node.kept_as] for asset, node in LINEAGE.items() if node.kept_as}


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
