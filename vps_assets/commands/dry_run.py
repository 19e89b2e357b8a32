"""`vps run --dry-run`: what a run would make, and why; nothing is made."""

from collections import Counter
from collections.abc import Iterator

from vps_assets.home import Home
from vps_assets.landing.landed import landed_index
from vps_assets.lineage.graph import LAYERS, LINEAGE
from vps_assets.lineage.planning import Request, plans
from vps_assets.orchestration.reasons import NAMED, counted, reasons
from vps_assets.orchestration.state import lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe


def dry_run(home: Home, recipe: Recipe, request: Request) -> Iterator[str]:
    """A line for each asset that would be made, in the order of the lineage: how many partitions, and why.

    What follows from results that are not there yet is not told: a champion that changes has its suggestions made, too.
    """
    state = lineage_state(landed_index(home), recipe, Warehouse(home))
    for layer in LAYERS:
        to_make = plans(layer, request, state.stale, state.days)
        for asset in [asset for asset in layer if any(asset in plan.assets for plan in to_make)]:
            own = [plan for plan in to_make if asset in plan.assets]
            yield line_of(asset, own[0].first, own[-1].last, counted(reasons(asset, state, request)))


def line_of(asset: str, first: str | None, last: str | None, why: Counter[str]) -> str:
    """What is said of an asset."""
    span = f" {first}" if first == last and first else f" {first} to {last}" if first else ""
    whole = LINEAGE[asset].partitions == "none" or NAMED in why
    parts = [reason if whole else f"{count:,} {reason}" for reason, count in why.items()]
    return f"{asset}{span}: {', '.join(parts)}"
