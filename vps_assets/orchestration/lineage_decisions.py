"""What the sensors of the lineage request: a pure function of (cursor, state).

They compare what has landed with what the tables were made from, and request the first step of what is out of date.
No event is counted, so none can be lost or handled twice: what is still out of date at the next tick is requested
again, and what is not is not (docs/adr/0010).
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

from vps_assets.lineage.fingerprints import Fingerprints
from vps_assets.lineage.graph import LAYERS, LINEAGE, ancestors
from vps_assets.lineage.planning import Plan, next_day, runs_of
from vps_assets.orchestration.backoff import Attempts
from vps_assets.tables.partitions import STATIC_KEYS
from vps_ml.cards import identity

FITTED = frozenset(asset for asset, node in LINEAGE.items() if node.kept_as)
"""What `retraining_sensor` makes; `sold_listings_sensor` makes the rest."""
FOLLOWING = frozenset(LINEAGE) - FITTED
MOST_RUNS = 20
"""Requests of one tick; further ranges of dates wait for the next."""


@dataclass(frozen=True)
class Cursor:
    """Which step was requested last, and how often."""

    step: str = ""
    attempts: Attempts = field(default_factory=Attempts)
    number: int = 0
    """Of all requests so far: a run key is never used twice."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The stored cursor; that of an earlier version is read as none, which requests a failed step at once."""
        values = json.loads(text) if text else {}
        attempts = values.get("attempts")
        if not isinstance(attempts, dict):
            return cls(number=values.get("number", 0))
        return cls(values["step"], Attempts(**attempts), values["number"])

    def write(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class State:
    """What a tick sees."""

    stale: Mapping[str, list[str]]
    """Asset -> partitions that are out of date."""
    desired: Fingerprints
    unfinished: int
    """Unfinished runs of assets of the lineage, by whomever they were started."""
    now: float
    """Seconds since 1970."""
    keys: Mapping[str, list[str]] = field(default_factory=lambda: STATIC_KEYS)
    """The partitions of each partitioning but `day`."""


@dataclass(frozen=True)
class RunRequest:
    """One Dagster run that is requested."""

    plan: Plan
    run_key: str


@dataclass(frozen=True)
class Decision:
    """The result of a tick."""

    cursor: str
    requests: tuple[RunRequest, ...]
    message: str


def decide(stored: str | None, state: State, own: Collection[str]) -> Decision:
    """Request the next step of what is out of date among the sensor's `own` assets, unless runs are unfinished.

    A step that is still out of date after it was requested has failed: it is requested again after a pause that grows
    (see `Attempts`), or at once if something in it has changed.
    """
    cursor = Cursor.read(stored)
    if state.unfinished:
        return Decision(
            cursor.write(), (), f"{state.unfinished} runs are unfinished; what is out of date waits for them"
        )
    if not state.desired.get("raw_listings") and "raw_listings" not in state.stale:
        return Decision(cursor.write(), (), "nothing has landed")
    steps = next_step(state.stale, own, state.keys)
    if not steps:
        others = sorted(state.stale.keys() - set(own))
        waiting = f"; {', '.join(others)} first" if state.stale.keys() & set(own) else ""
        return Decision(cursor.write(), (), f"up to date with what has landed{waiting}")
    step = identity([asdict(plan) for plan in steps], [bases(plan, state.desired) for plan in steps])
    attempts = cursor.attempts.capped(state.now) if step == cursor.step else Attempts()
    if not attempts.due(state.now):
        wait = f"attempt {attempts.count} failed; the next one is in {attempts.due_at - state.now:.0f} s"
        return Decision(replace(cursor, attempts=attempts).write(), (), wait)
    following = Cursor(step, attempts.again(state.now), cursor.number + 1)
    requests = tuple(RunRequest(plan, f"{step}-{following.number}-{i}") for i, plan in enumerate(steps))
    message = f"{', '.join(steps[0].assets)} (attempt {following.attempts.count})"
    return Decision(following.write(), requests, message)


def next_step(stale: Mapping[str, list[str]], own: Collection[str], keys: Mapping[str, list[str]]) -> list[Plan]:
    """The runs of the first layer with something out of date whose ancestors are all up to date."""
    for layer in LAYERS:
        ready = [asset for asset in layer if asset in stale and asset in own and not blocked(asset, layer, stale, own)]
        if ready:
            return runs_of({asset: stale[asset] for asset in ready}, next_day, keys)[:MOST_RUNS]
    return []


def blocked(asset: str, layer: Collection[str], stale: Mapping[str, list[str]], own: Collection[str]) -> bool:
    """Whether an ancestor is out of date that the same run does not make."""
    return any(above in stale and not (above in layer and above in own) for above in ancestors(asset))


def bases(plan: Plan, desired: Fingerprints) -> list[tuple[str, str, str]]:
    """What the plan's partitions are to be made from: it changes if something lands meanwhile."""
    within = (plan.first or "", plan.last or "\uffff")
    return [
        (asset, partition, fingerprint.text)
        for asset in plan.assets
        for partition, fingerprint in sorted(desired.get(asset, {}).items())
        if within[0] <= partition <= within[1] or LINEAGE[asset].partitions != "day"
    ]
