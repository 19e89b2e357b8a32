"""Full runs on paper: what they would make, and what is recorded after them."""

from vps_assets.lineage.fingerprints import Fingerprint, Records, basis_of
from vps_assets.lineage.graph import LINEAGE
from vps_assets.lineage.planning import desired_fingerprints, out_of_date
from vps_assets.tables.partitions import WHOLE
from vps_ml.recipes import demo

KEYS = {"none": [WHOLE], "task": ["category", "price"], "coverage_target": ["0.5"], "error_tolerance": ["0.5"]}
"""Fewer partitions than there are, so that it is quick."""
SALES = 100

Made = dict[str, list[str]]
"""Asset -> partitions."""


def fingerprints_of(landed: dict[str, str]) -> dict[str, Fingerprint]:
    """The fingerprints of the dates of `raw_listings`, given their bases."""
    return {day: Fingerprint(basis) for day, basis in landed.items()}


def run(landed: dict[str, str], before: Records, sales: int = SALES, content: str = "c") -> tuple[Made, Records]:
    """(what a full run makes, what is recorded after it): one asset after the other, as `vps run` does."""
    made: Made = {}
    recorded = before
    for asset, node in LINEAGE.items():
        desired = desired_fingerprints(fingerprints_of(landed), sales, recorded, demo(), keys=KEYS)
        stale = out_of_date(desired, recorded.made).get(asset, [])
        has_content = bool(node.content or node.kept_as)
        if stale:
            made[asset] = stale
            now = {
                partition: Fingerprint(wanted.basis, sales, content) if has_content and partition in stale else wanted
                for partition, wanted in desired[asset].items()
            }
            recorded = recorded.updated(Records({asset: now}))
    return made, recorded


def after_a_full_run(landed: dict[str, str]) -> Records:
    """What is recorded after the first run."""
    return run(landed, Records())[1]


def stale_after(landed: dict[str, str], recorded: Records, sales: int = SALES) -> Made:
    """What is out of date."""
    desired = desired_fingerprints(fingerprints_of(landed), sales, recorded, demo(), keys=KEYS)
    return out_of_date(desired, recorded.made)


def with_made(
    recorded: Records, asset: str, landed: dict[str, str], sales: int, partitions: list[str], content: str = "c"
) -> Records:
    """What is recorded once these partitions of an asset have been made, from what its parents hold by then."""
    node, mine = LINEAGE[asset], dict(recorded.made.get(asset, {}))
    for partition in partitions:
        basis = fingerprints_of(landed)[partition].basis if asset == "raw_listings" else ""
        basis = basis or basis_of(asset, partition, demo(), recorded) or ""
        kept = bool(node.content or node.kept_as)
        mine[partition] = Fingerprint(basis, sales, content) if kept else Fingerprint(basis)
    return recorded.updated(Records({asset: mine}))
