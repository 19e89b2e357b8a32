"""How the assets stand between runs, as checks in the UI: what is out of date and why, and whether data still come in.

A check runs with its asset, and so never when it is needed: when nothing is made. So a sensor looks at each tick, and
notes what has changed since a check was noted last, by whomever.
"""

from collections.abc import Collection, Iterator, Mapping
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

NAME, TICK_S, LOCK_TIMEOUT_S = "standing_sensor", 60, 5.0
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


def up_to_date(asset: str, state: LineageState, just_written: Collection[str] = ()) -> Standing:
    """Whether the asset is what the sensors would make now; else what is not, and why.

    `just_written` are partitions that the run which asks has written, and which have not passed their checks *yet*.
    """
    why = {p: reason for p, reason in reasons(asset, state).items() if reason != UNCHECKED or p not in just_written}
    if not why:
        return Standing(passed=True, told={"out of date": 0})
    names = [partition or "all" for partition in why]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    parts = "; ".join(f"{count:,} {reason}" for reason, count in counted(why).items())
    return Standing(
        passed=False,
        told={"out of date": len(names), "why": parts, "partitions": ", ".join(names[:MOST_NAMED]) + more},
    )


def coming_in(warehouse: Warehouse, today: date) -> dict[str, Standing]:
    """Check -> whether the newest listing, and the newest sale, are recent.

    Dagster's freshness policies ask when an asset was made, which a re-run of an old date satisfies.
    """
    found = {}
    for check, (column, most_days) in COMING_IN.items():
        newest = f"true order by {column} desc nulls last limit 1"
        rows = warehouse.read("clean_listings", newest, columns=[column])
        day = None if rows is None or rows.is_empty() else rows[column][0]
        recent = day is not None and (today - day).days <= most_days
        found[check] = Standing(recent, {"newest": str(day or "none"), "days that it may be old": most_days})
    return found


def all_standings(settings: Settings, writing_run: str | None = None) -> Iterator[tuple[dg.AssetCheckKey, Standing]]:
    """Every check and what it says now.

    Args:
        settings: of the code location.
        writing_run: the run that asks, if it has written: it speaks of what it has taken in, since what landed
            meanwhile is the next one's, and does not look for files that are lost. None: nobody is in a hurry.

    Raises:
        WarehouseBusy: somebody writes, and nobody should wait for a check that only informs.
    """
    warehouse = Warehouse(settings.home, LOCK_TIMEOUT_S)
    writing = writing_run is not None
    if writing:
        index = LandedIndex(warehouse.records().made.get("raw_listings", {}), warehouse.good_sales())
    else:
        index = landed_index(settings.home)
    state = lineage_state(index, settings.recipe, warehouse, wait_for_minimum_age=True, look_for_lost=not writing)
    written = warehouse.unchecked(writing_run) if writing_run is not None else {}
    for key in KEYS[: len(LINEAGE)]:
        asset = key.asset_key.to_user_string()
        yield key, up_to_date(asset, state, written.get(asset, ()))
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
        being_made = {key for run in unfinished_runs(context.instance) for key in run.asset_selection or ()}
        noted = newest_evaluations(context.instance, KEYS)
        try:
            said = dict(all_standings(settings))
        except WarehouseBusy:
            return dg.SensorResult(skip_reason="the warehouse is being written")
        events = [
            event
            for event in (evaluation(key, one) for key, one in said.items() if key.asset_key not in being_made)
            if (before := noted.get(event.asset_check_key)) is None
            or (before.passed, before.metadata) != (event.passed, event.metadata)
        ]
        if not events:
            return dg.SensorResult(skip_reason="as noted")
        return dg.SensorResult(asset_events=events)

    return sensor
