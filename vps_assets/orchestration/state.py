"""What is out of date now: what has landed, held against what the warehouse records."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from vps_assets.landing.landed import LandedIndex
from vps_assets.lineage.fingerprints import Fingerprints
from vps_assets.lineage.graph import LINEAGE
from vps_assets.lineage.planning import desired_fingerprints, out_of_date, policies_by_asset
from vps_assets.lineage.retraining import policies_from_environment
from vps_assets.warehouse.database import Known, Warehouse
from vps_assets.warehouse.named_files import lost
from vps_ml.recipes import Recipe


@dataclass(frozen=True)
class LineageState:
    """What planning needs."""

    stale: dict[str, list[str]]
    """Asset -> partitions that are out of date."""
    desired: Fingerprints
    days: list[str]
    """The dates that have rows or had some, ascending."""
    known: Known
    """What the warehouse records, as of the same moment."""


def lineage_state(
    index: LandedIndex,
    recipe: Recipe,
    warehouse: Warehouse,
    frozen: Collection[str] = (),
    *,
    wait_for_minimum_age: bool = False,
    look_for_lost: bool = True,
) -> LineageState:
    """The present state of the lineage.

    Args:
        index: what has landed.
        recipe: in force.
        warehouse: the working tables.
        frozen: assets that stay as they are, whatever they would be made from.
        wait_for_minimum_age: whether fitted assets below their policy's minimum age wait, as they do for sensors.
        look_for_lost: whether files that the tables name are looked for, which takes longer than all the rest.

    Raises:
        WrongSetting: a retraining policy makes no sense.
    """
    known = warehouse.known()
    policies = policies_by_asset(policies_from_environment())
    if wait_for_minimum_age:
        now = time.time()
        ages = {asset: now - known.made_at.get(asset, 0) for asset in policies}
        ages = {asset: age if age >= 0 else now for asset, age in ages.items()}  # the clock was set back since
        policies = {asset: policy.at_age(ages[asset]) for asset, policy in policies.items()}
    recorded = known.records
    desired = desired_fingerprints(index.fingerprints, index.sales, recorded, recipe, policies, frozen)
    days = sorted(index.fingerprints.keys() | recorded.made.get("raw_listings", {}).keys())
    stale = out_of_date(desired, recorded.made)
    gone = lost(known.files, warehouse.home.artefacts) if look_for_lost else {}
    for found in (known.unchecked, gone):
        for asset in found.keys() & LINEAGE.keys() - set(frozen):
            stale[asset] = sorted({*stale.get(asset, ()), *found[asset]})
    return LineageState({asset: stale[asset] for asset in LINEAGE if asset in stale}, desired, days, known)
