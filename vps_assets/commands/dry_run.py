"""`vps run --dry-run`: what a run would make, and why; nothing is made."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from vps_assets.home import Home
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LAYERS, LINEAGE, named, selected
from vps_assets.lineage.planning import Request, asked_for, without_listings
from vps_assets.orchestration.reasons import reasons
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe

DECIDED = tuple(asset for asset, node in LINEAGE.items() if node.content and not node.kept_as)
"""Assets whose children follow what they say, which is mostly what they said before."""
NAMED, SEEDED = "made again, as it is named", "made again, for the seeds"
"""Why what is up to date is made."""


def dry_run(home: Home, recipe: Recipe, request: Request) -> Iterator[str]:
    """A line for each asset that would be made, in the order of the lineage: which partitions, and why.

    What follows from results that are not there yet cannot be told for sure: a last line names it. A champion, say, is
    mostly confirmed, and what it prices then stays as it is.
    """
    index, warehouse = landed_index(home), Warehouse(home)
    state = lineage_state(index, recipe, warehouse)
    as_decided = lineage_state(index, recipe, warehouse, frozen=DECIDED)
    stale = {asset: parts for asset, parts in as_decided.stale.items() if asset not in DECIDED}
    stale |= {asset: state.stale[asset] for asset in DECIDED if asset in state.stale}
    if nothing := without_listings(state.days, request):
        yield nothing
    told: list[str] = []
    for layer in LAYERS:
        for asset, partitions in asked_for(layer, request, stale, state.days).items():
            why = {} if request.forces(asset) else reasons(asset, state)
            forced = NAMED if asset in named(request.selection) else SEEDED
            yield line_of(asset, partitions, Counter(why.get(partition, forced) for partition in partitions))
            told.append(asset)
    if follows := list(may_follow(told, request)):
        yield f"and what of these follows from results that come out different: {', '.join(follows)}"


def may_follow(told: Collection[str], request: Request) -> Iterator[str]:
    """The other assets that were asked for and follow these: what is kept follows what it is fitted with alone."""
    chosen, moved = selected(request.selection), set(told)
    for asset, node in LINEAGE.items():
        if asset not in told and moved.intersection(node.fitted_with if node.kept_as else node.parents):
            moved.add(asset)
            if asset in chosen:
                yield asset


def line_of(asset: str, partitions: Sequence[str], why: Counter[str]) -> str:
    """What is said of an asset."""
    kind, (first, last) = LINEAGE[asset].partitions, (partitions[0], partitions[-1])
    if kind == "none":
        return f"{asset}: {next(iter(why))}"
    which = f" {first}" if first == last else f" {first} to {last}" if kind == "day" else f" {', '.join(partitions)}"
    return f"{asset}{which}: {', '.join(f'{count:,} {reason}' for reason, count in why.items())}"
