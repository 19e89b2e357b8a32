"""The checks that say how assets stand: made now by hand, after a run, and by `standing_sensor` in between."""

from collections.abc import Iterator

import dagster as dg

from vps_assets.orchestration.standing import COMING_IN, KEYS, UP_TO_DATE, all_standings
from vps_assets.warehouse.file import WarehouseBusy
from vps_assets.warehouse.settings import Settings


def description(key: dg.AssetCheckKey) -> str:
    """What a check asks."""
    if key.name == UP_TO_DATE:
        return "It is what the sensors would make now of what has landed; else what is out of date, and why."
    column, days = COMING_IN[key.name]
    return f"The newest {column} is at most {days} days ago: the data, not when they were cleaned."


@dg.multi_asset_check(
    name="standing",
    specs=[dg.AssetCheckSpec(key.name, asset=key.asset_key, description=description(key)) for key in KEYS],
    can_subset=True,
)
def standing(context: dg.AssetCheckExecutionContext, settings: Settings) -> Iterator[dg.AssetCheckResult]:
    """How assets stand."""
    asked = context.op_execution_context.selected_asset_check_keys
    makes_them = bool(context.run.asset_selection or not context.run.asset_check_selection)
    try:
        found = list(all_standings(settings, context.run.run_id if makes_them else None))
    except WarehouseBusy:  # the sensor says it later; no run fails for it
        return
    for key, said in found:
        if key in asked:
            yield dg.AssetCheckResult(
                passed=said.passed,
                asset_key=key.asset_key,
                check_name=key.name,
                metadata=said.told,
                severity=dg.AssetCheckSeverity.WARN,
            )
