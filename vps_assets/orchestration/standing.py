"""How the assets stand between runs, as checks in the UI: what is out of date and why, and whether data still come in.

A check runs with its asset, and so never when it is needed: when nothing is made. So a sensor looks at each tick, and
notes what has changed since a check was noted last, by whomever.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import dagster as dg

from vps_assets.landing.landed import LandedIndex, landed_index
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import unfinished_runs
from vps_assets.orchestration.internals import newest_evaluations
from vps_assets.orchestration.reasons import UNCHECKED, counted, reasons
from vps_assets.orchestration.state import LineageState, lineage_state
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import WarehouseBusy
from vps_assets.warehouse.settings import Settings

NAME, TICK_S, LOCK_TIMEOUT_S = "standing_sensor", 30, 5.0
UP_TO_DATE = "is_up_to_date"
COMING_IN: Mapping[str, tuple[str, int]] = {
    "listings_come_in": ("listed_on", 2),
    "sales_come_in": ("sold_on", 7),
}
"""Check of `clean_listings` -> (date column, days that its newest may be old)."""
MOST_NAMED = 20
"""Partitions."""
KEYS = [
    *(dg.AssetCheckKey(dg.AssetKey(asset), UP_TO_DATE) for asset in LINEAGE),
    *(dg.AssetCheckKey(dg.AssetKey("clean_listings"), name) for name in COMING_IN),
]


@dataclass(frozen=True)
class Standing:
    """What a check says."""

    passed: bool
    told: dict[str, str | int] = field(default_factory=dict)


def up_to_date(asset: str, state: LineageState, *, unchecked: bool = True) -> Standing:
    """Whether the asset is what a run would make now; else what is not, and why.

    Args:
        asset: of the lineage.
        state: of the lineage now.
        unchecked: whether partitions count that did not pass a blocking check: those of the run that is just writing
            them have not yet.
    """
    why = {p: reason for p, reason in reasons(asset, state).items() if unchecked or reason != UNCHECKED}
    if not why:
        return Standing(passed=True)
    names = [partition or "all" for partition in why]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    parts = "; ".join(f"{count:,} {reason}" for reason, count in counted(why).items())
    return Standing(
        passed=False,
        told={"out of date": len(names), "why": parts, "partitions": ", ".join(names[:MOST_NAMED]) + more},
    )


def coming_in(warehouse: Warehouse, today: date) -> dict[str, Standing]:
    """Check -> whether the newest listing, and the newest sale, are recent; there is none before anything is cleaned.

    Dagster's freshness policies ask when an asset was made, which a re-run of an old date satisfies.
    """
    if not warehouse.exists():
        return {}
    columns = ", ".join(f"max({column}) as {column}" for column, _ in COMING_IN.values())
    with warehouse.connect(read_only=True) as connection:
        newest = connection.sql(f"select {columns} from clean_listings").fetchall()[0]  # noqa: S608
    found = {}
    for (check, (_, most_days)), day in zip(COMING_IN.items(), newest, strict=True):
        recent = day is not None and (today - day).days <= most_days
        found[check] = Standing(recent, {"newest": str(day), "days that it may be old": most_days})
    return found


def all_standings(
    settings: Settings, made_of: LandedIndex | None = None
) -> Iterator[tuple[dg.AssetCheckKey, Standing]]:
    """Every check and what it says now.

    Args:
        settings: of the code location.
        made_of: what a run has taken in that asks while it writes: what it has written has not passed its blocking
            checks yet, and what has landed meanwhile is the next one's. None: what has landed by now.
    """
    warehouse = Warehouse(settings.home, LOCK_TIMEOUT_S)
    index = landed_index(settings.home) if made_of is None else made_of
    state = lineage_state(index, settings.recipe, warehouse, wait_for_minimum_age=True)
    for key in KEYS[: len(LINEAGE)]:
        yield key, up_to_date(key.asset_key.to_user_string(), state, unchecked=made_of is None)
    if state.known.records.made.get("clean_listings"):
        told = coming_in(warehouse, datetime.now(UTC).date())
        yield from ((dg.AssetCheckKey(dg.AssetKey("clean_listings"), name), said) for name, said in told.items())


def evaluation(key: dg.AssetCheckKey, said: Standing) -> dg.AssetCheckEvaluation:
    """As Dagster takes it; it warns, and blocks nothing."""
    return dg.AssetCheckEvaluation(key.asset_key, key.name, said.passed, said.told, severity=dg.AssetCheckSeverity.WARN)


def standing_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor that keeps these checks true."""

    description = "Notes as checks what is out of date and why, and whether listings and sales still come in."

    @dg.sensor(name=NAME, minimum_interval_seconds=TICK_S, default_status=status, description=description)
    def sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
        """Notes as checks what is out of date and why, and whether listings and sales still come in."""
        if unfinished_runs(context.instance):
            return dg.SensorResult(skip_reason="runs are unfinished")
        noted = newest_evaluations(context.instance, KEYS)
        try:
            said = dict(all_standings(settings))
        except WarehouseBusy:
            return dg.SensorResult(skip_reason="the warehouse is being written")
        events = [
            event
            for event in (evaluation(key, one) for key, one in said.items())
            if (before := noted.get(event.asset_check_key)) is None
            or (before.passed, before.metadata) != (event.passed, event.metadata)
        ]
        if not events:
            return dg.SensorResult(skip_reason="as noted")
        return dg.SensorResult(asset_events=events)

    return sensor
