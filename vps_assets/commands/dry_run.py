"""`vps run --dry-run`: what a run would make, and why; nothing is made."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from vps_assets.home import Home
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LAYERS, LINEAGE, ancestors, selected
from vps_assets.lineage.planning import Request, asked_for, without_listings
from vps_assets.orchestration.reasons import NAMED, reasons
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe


def dry_run(home: Home, recipe: Recipe, request: Request) -> Iterator[str]:
    """A line for each asset that would be made, in the order of the lineage: which partitions, and why.

    What follows from results that are not there yet cannot be told for sure: a last line names it.
    """
    state = lineage_state(landed_index(home), recipe, Warehouse(home))
    if nothing := without_listings(state.days, request):
        yield nothing
    told: list[str] = []
    for layer in LAYERS:
        for asset, partitions in asked_for(layer, request, state.stale, state.days).items():
            why = {} if request.forces(asset) else reasons(asset, state)
            yield line_of(asset, partitions, Counter(why.get(partition, NAMED) for partition in partitions))
            told.append(asset)
    if follows := list(may_follow(told, request)):
        yield f"and what of these follows from results that come out different: {', '.join(follows)}"


def may_follow(told: Collection[str], request: Request) -> Iterator[str]:
    """The other assets that were asked for and are made from these."""
    chosen = selected(request.selection)
    return (asset for asset in LINEAGE if asset in chosen and asset not in told and ancestors(asset) & set(told))


def line_of(asset: str, partitions: Sequence[str], why: Counter[str]) -> str:
    """What is said of an asset."""
    kind, (first, last) = LINEAGE[asset].partitions, (partitions[0], partitions[-1])
    if kind == "none":
        return f"{asset}: {next(iter(why))}"
    which = f" {first}" if first == last else f" {first} to {last}" if kind == "day" else f" {', '.join(partitions)}"
    return f"{asset}{which}: {', '.join(f'{count:,} {reason}' for reason, count in why.items())}"
