"""What the sensors of the lineage ask for: pure functions of (cursor, what is there).

They compare what has landed with what the tables were made from, and ask for the first step of what is out of date.
No event is counted, so none can be lost or handled twice: what is still out of date at the next tick is asked for
again, and what is not is not (docs/adr/0010).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta

from vps_assets.lineage.graph import LINEAGE, Fingerprints, ancestors
from vps_assets.orchestration.run import Plan, layers, ranged
from vps_ml.artefacts import identity

FITTED = frozenset(asset for asset, node in LINEAGE.items() if node.kept_as)
"""What `retraining_sensor` makes; `sold_listings_sensor` makes the rest."""
MADE_ANEW = frozenset(LINEAGE) - FITTED
MOST_RUNS = 20
"""That one tick asks for; further stretches of dates wait for the next."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 6 * 3600.0


@dataclass(frozen=True)
class Asked:
    """The cursor: which step was asked for last."""

    step: str = ""
    attempts: int = 0
    at: float = 0.0
    """Seconds since 1970."""
    number: int = 0
    """Of all requests so far: a run key is never used twice."""


@dataclass(frozen=True)
class There:
    """What a tick sees."""

    stale: Mapping[str, list[str]]
    """Asset -> partitions that are out of date."""
    desired: Fingerprints
    under_way: int
    """Unfinished runs of assets of the lineage, whoever started them."""
    keys: Mapping[str, list[str]]
    """The partitions of each kind but `day`."""
    now: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Asking:
    """One Dagster run that is asked for."""

    plan: Plan
    run_key: str


@dataclass(frozen=True)
class Decision:
    """What a tick comes to."""

    cursor: str
    asks: tuple[Asking, ...]
    said: str


def decide(cursor: str | None, there: There, mine: Collection[str]) -> Decision:
    """The next step of what is out of date among `mine`, unless runs are under way.

    A step that is still out of date after it was asked for has failed: it is asked for again after a minute, two,
    four, and so on up to six hours; at once where something about it has changed.
    """
    asked = Asked(**json.loads(cursor)) if cursor else Asked()
    same = json.dumps(asdict(asked))
    if there.under_way:
        return Decision(same, (), f"{there.under_way} runs are under way; then comes what is out of date after them")
    if not there.desired.get("raw_listings") and "raw_listings" not in there.stale:
        return Decision(same, (), "nothing has landed")
    steps = next_step(there.stale, mine, there.keys)
    if not steps:
        others = sorted(there.stale.keys() - set(mine))
        waiting = f"; {', '.join(others)} first" if there.stale.keys() & set(mine) else ""
        return Decision(same, (), f"up to date with what has landed{waiting}")
    step = identity([asdict(plan) for plan in steps], [wanted(plan, there.desired) for plan in steps])
    attempts = asked.attempts + 1 if step == asked.step else 1
    due = asked.at + pause_s(attempts - 1)
    if attempts > 1 and there.now < due:
        return Decision(same, (), f"attempt {asked.attempts} failed; the next one is in {due - there.now:.0f} s")
    now = Asked(step, attempts, there.now, asked.number + 1)
    asks = tuple(Asking(plan, f"{step}-{now.number}-{i}") for i, plan in enumerate(steps))
    return Decision(json.dumps(asdict(now)), asks, f"{', '.join(steps[0].assets)} (attempt {attempts})")


def pause_s(failures: int) -> float:
    """How long to wait after so many failures."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1)) if failures else 0.0


def next_step(stale: Mapping[str, list[str]], mine: Collection[str], keys: Mapping[str, list[str]]) -> list[Plan]:
    """The runs of the first layer that has something out of date with nothing out of date above it."""
    for layer in layers():
        ready = [
            asset for asset in layer if asset in stale and asset in mine and not blocked(asset, layer, stale, mine)
        ]
        if ready:
            return ranged({asset: stale[asset] for asset in ready}, keys, consecutive)[:MOST_RUNS]
    return []


def blocked(asset: str, layer: Sequence[str], stale: Mapping[str, list[str]], mine: Collection[str]) -> bool:
    """Whether something above the asset is out of date that the same run does not make."""
    return any(above in stale and not (above in layer and above in mine) for above in ancestors(asset))


def consecutive(days: Sequence[str]) -> list[tuple[str, str]]:
    """Dates as (first, last) stretches of days in a row: exactly these dates and no other."""
    ranges: list[tuple[str, str]] = []
    for day in days:
        if ranges and date.fromisoformat(day) - date.fromisoformat(ranges[-1][1]) == timedelta(days=1):
            ranges[-1] = ranges[-1][0], day
        else:
            ranges.append((day, day))
    return ranges


def wanted(plan: Plan, desired: Fingerprints) -> list[tuple[str, str, str]]:
    """What the plan's partitions are to be made from: it changes where something lands meanwhile."""
    within = (plan.first or "", plan.last or "\uffff")
    return [
        (asset, partition, value)
        for asset in plan.assets
        for partition, value in sorted(desired.get(asset, {}).items())
        if within[0] <= partition <= within[1] or LINEAGE[asset].partitions != "day"
    ]
