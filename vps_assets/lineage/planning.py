"""What is out of date, and the Dagster runs that make it: pure functions of what has landed and what is recorded."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from vps_assets.lineage.fingerprints import Fingerprint, Fingerprints, Records, basis_of
from vps_assets.lineage.graph import LAYERS, LINEAGE, ancestors, named, selected
from vps_assets.lineage.retraining import DEFAULT_POLICIES, RetrainingPolicy
from vps_assets.tables.partitions import STATIC_KEYS
from vps_ml.recipes import Recipe

ALL_DATES = "vps/all_dates"
"""Tag: this run belongs to a set that covers every out-of-date listing date."""
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
"""Dagster's tags: the first and last partition that a run makes."""
JOINED_ACROSS = 30
"""Fresh dates between stale ones that are made again rather than start another run."""
MOST_RANGES = 20
"""With more gaps than this between stale dates, one run over all of them costs less."""
EVALUATIONS = (
    "evaluation_predictions",
    "evaluation_reports",
    "ablation_reports",
    "words_reports",
    "model_comparisons",
)


@dataclass(frozen=True)
class Plan:
    """One Dagster run: assets with the same partitions, and the first and last of those (None without)."""

    assets: tuple[str, ...]
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True)
class Request:
    """What a user asks to be made."""

    selection: str | None = None
    first: date | None = None
    last: date | None = None
    seeds: int = 1
    force_named: bool = True
    """Whether named assets are made although they are up to date."""

    @property
    def all_dates(self) -> bool:
        return self.first is None and self.last is None

    def forces(self, asset: str) -> bool:
        """Whether the asset is made although it is up to date: if it is named, not if a `+` adds it."""
        if not self.force_named:
            return False
        reseeded = self.seeds > 1 and (LINEAGE[asset].seeded_op is not None or asset in EVALUATIONS)
        return asset in named(self.selection) or reseeded


def policies_by_asset(policies: Mapping[str, RetrainingPolicy]) -> dict[str, RetrainingPolicy]:
    """The policy of each kept asset."""
    return {asset: policies[node.kept_as] for asset, node in LINEAGE.items() if node.kept_as}


def desired_fingerprints(
    landed: Mapping[str, Fingerprint],
    sales: int,
    recorded: Records,
    recipe: Recipe,
    policies: Mapping[str, RetrainingPolicy] | None = None,
    frozen: Collection[str] = (),
    keys: Mapping[str, list[str]] = STATIC_KEYS,
) -> Fingerprints:
    """Every partition's fingerprint after a full run on what has landed.

    Args:
        landed: fingerprints of the dates of `raw_listings`.
        sales: how many good sold listings have landed.
        recorded: what the warehouse holds now: what is kept, and what was decided last.
        recipe: in force.
        policies: when each kept asset is fitted again; by default `DEFAULT_POLICIES`.
        frozen: assets that stay as they are if they exist, whatever they would be made from now.
        keys: the partitions of each partitioning but `day`, whose partitions are the dates that have landed.
    """
    policies = policies_by_asset(DEFAULT_POLICIES) if policies is None else policies
    desired: Fingerprints = {"raw_listings": dict(landed)}
    # What a statistics table holds is known once it is made: layers are planned one by one.
    made_from = Records(desired, recorded.as_of)
    for asset, node in LINEAGE.items():
        if asset in desired:
            continue
        partitions = list(landed) if node.partitions == "day" else keys[node.partitions]
        have = recorded.made.get(asset, {})
        desired[asset] = {
            partition: kept(policies.get(asset), basis, sales, have.get(partition))
            for partition in partitions
            if (basis := basis_of(asset, partition, recipe, made_from)) is not None
        }
        if asset in frozen:
            desired[asset] |= have
    return desired


def kept(policy: RetrainingPolicy | None, basis: str, sales: int, recorded: Fingerprint | None) -> Fingerprint:
    """The recorded fingerprint if it has this basis and is not due again, else the basis alone."""
    if recorded is None or recorded.basis != basis or recorded.sales is None:
        return Fingerprint(basis)
    return Fingerprint(basis) if policy and policy.due(sales, recorded.sales) else recorded


def out_of_date(desired: Fingerprints, recorded: Fingerprints) -> dict[str, list[str]]:
    """Asset -> partitions to make: those whose recorded fingerprint is not the desired one, and those to empty."""
    stale = {}
    for asset in LINEAGE:
        want, have = desired.get(asset, {}), recorded.get(asset, {})
        differ = sorted(p for p in want.keys() | have.keys() if want.get(p) != have.get(p))
        if differ:
            stale[asset] = differ
    return stale


def plans(
    layer: Collection[str],
    request: Request,
    stale: Mapping[str, list[str]],
    days: Sequence[str],
    keys: Mapping[str, list[str]] = STATIC_KEYS,
) -> list[Plan]:
    """The Dagster runs that make this layer's part of the request, and what of later layers need not wait for others.

    A Dagster run costs seconds, whatever it makes. After a new day cleaned listings and embeddings are one, statistics
    and evaluations another: what lies between is kept.

    Args:
        layer: assets with the same partitions.
        request: what is to be made.
        stale: asset -> partitions that are out of date.
        days: all dates that have rows, or had some, ascending.
        keys: see `desired_fingerprints`.
    """
    to_make = asked_for(layer, request, stale, days, keys)
    if to_make:
        to_make |= need_not_wait(to_make, request, stale, days, keys)
    runs = runs_of(to_make, few_fresh_between(days), keys)
    if len(runs) > MOST_RANGES:
        return [Plan(runs[0].assets, runs[0].first, runs[-1].last)]
    return runs


def need_not_wait(
    to_make: Mapping[str, list[str]],
    request: Request,
    stale: Mapping[str, list[str]],
    days: Sequence[str],
    keys: Mapping[str, list[str]],
) -> dict[str, list[str]]:
    """Assets of later layers that are out of date, have the partitions of these and are made from no others to come.

    What follows the content of an asset of another layer waits until that is made: it may be as it was (docs/adr/0008).
    What would be made twice waits for its own layer, too: a named asset, and one that is made from partitions that are
    out of date and stay so, as nobody asks for them. No date is made that the asset itself does not need. Other
    arguments as of `plans`.
    """
    (first, *_) = to_make
    number = next(number for number, layer in enumerate(LAYERS) if first in layer)
    together = dict(to_make)
    least = set().union(*to_make.values())
    waiting: set[str] = set()
    for layer in LAYERS[number + 1 :]:
        for asset, partitions in asked_for(layer, request, stale, days, keys).items():
            above = ancestors(asset)
            left = any(set(stale.get(parent, ())) - set(together.get(parent, ())) for parent in above)
            follows = any(LINEAGE[parent].content and parent not in layer for parent in above & together.keys())
            same = LINEAGE[asset].partitions == LINEAGE[first].partitions and least <= set(partitions)
            if same and not (left or follows or above & waiting or request.forces(asset)):
                together[asset] = partitions
            else:
                waiting.add(asset)
    return {asset: partitions for asset, partitions in together.items() if asset not in to_make}


def asked_for(
    layer: Collection[str],
    request: Request,
    stale: Mapping[str, list[str]],
    days: Sequence[str],
    keys: Mapping[str, list[str]] = STATIC_KEYS,
) -> dict[str, list[str]]:
    """Asset of the layer -> its partitions that the request has made, ascending; arguments as of `plans`."""
    kind = LINEAGE[next(iter(layer))].partitions
    everything = days if kind == "day" else keys[kind]
    chosen = selected(request.selection)
    to_make: dict[str, list[str]] = {}
    for asset in layer:
        if asset not in chosen:
            continue
        partitions = sorted(set(everything)) if request.forces(asset) else stale.get(asset, [])
        if within := dates_within(partitions, request) if kind == "day" else partitions:
            to_make[asset] = within
    return to_make


def without_listings(days: Sequence[str], request: Request) -> str:
    """What is said where no listing of the request's dates has landed; nothing where one has, or all are asked for."""
    if request.all_dates or not days or dates_within(days, request):
        return ""
    asked = f"{request.first or '…'} to {request.last or '…'}"
    return f"no listing of {asked} has landed: the dates with listings are {days[0]} to {days[-1]}"


def dates_within(days: Sequence[str], request: Request) -> list[str]:
    """The days between the request's dates."""
    first, last = (str(request.first or date.min), str(request.last or date.max))
    return [day for day in days if first <= day <= last]


Joins = Callable[[str, str], bool]
"""(last date of a range, next stale date) -> whether the range goes on to that date."""


def few_fresh_between(days: Sequence[str]) -> Joins:
    """A range goes on across at most `JOINED_ACROSS` fresh dates; `days` are all dates that have rows, ascending.

    A Dagster run costs three to four seconds with its checks, standing and publication, whatever it makes; a fresh date
    that is made again stays as it was, and takes a tenth of one. A day after 100,000 listings, joined across 7, was 23
    runs.
    """

    def joins(last: str, following: str) -> bool:
        return bisect_left(days, following) - bisect_right(days, last) <= JOINED_ACROSS

    return joins


def next_day(last: str, following: str) -> bool:
    """A range goes on to the day after it alone, so that it has no date but the stale ones."""
    return date.fromisoformat(following) - date.fromisoformat(last) == timedelta(days=1)


def date_ranges(stale: Sequence[str], joins: Joins) -> list[tuple[str, str]]:
    """Stale dates, ascending, as (first, last) ranges."""
    ranges: list[tuple[str, str]] = []
    for day in stale:
        if ranges and joins(ranges[-1][1], day):
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def runs_of(to_make: Mapping[str, Collection[str]], joins: Joins, keys: Mapping[str, list[str]]) -> list[Plan]:
    """The runs that make these partitions of assets with the same partitions."""
    if not to_make:
        return []
    assets, kind = tuple(to_make), LINEAGE[next(iter(to_make))].partitions
    if kind == "none":
        return [Plan(assets)]
    together = sorted(set().union(*to_make.values()))
    if kind == "day":
        return [Plan(assets, first, last) for first, last in date_ranges(together, joins)]
    ordered = [key for key in keys[kind] if key in together]
    return [Plan(assets, ordered[0], ordered[-1])]
