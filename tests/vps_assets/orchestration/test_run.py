"""What `vps run` hands to Dagster, and what it says of a run that failed."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from vps_assets.lineage.planning import ALL_DATES, Plan, Request
from vps_assets.orchestration.run import first_cause, range_tags


def test_runs_of_some_dates_alone_are_not_of_all_dates() -> None:
    plan = Plan(("clean_listings",), "2024-01-02", "2024-01-02")
    assert Request().all_dates
    assert not Request(last=date(2024, 1, 2)).all_dates
    assert ALL_DATES in range_tags(plan, all_dates=True)
    assert ALL_DATES not in range_tags(plan, all_dates=False)


def test_the_cause_of_a_failed_run_is_the_check_that_blocked_it_and_not_a_warning_before_it() -> None:
    def found(name: str, severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, check_name=name, severity=severity, metadata={"faults": name})

    @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="made", blocking=True) for name in ("unusual", "wrong")])
    def made() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        yield dg.MaterializeResult()
        yield found("unusual", dg.AssetCheckSeverity.WARN)
        yield found("wrong", dg.AssetCheckSeverity.ERROR)

    result = dg.materialize([made], raise_on_error=False)
    assert first_cause(result).startswith("check wrong of made failed (faults: wrong")
