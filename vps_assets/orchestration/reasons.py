"""Why partitions are out of date, in words: for `vps run --dry-run` and for the UI."""

from collections import Counter

from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.state import LineageState

NEW, UNCHECKED, LOST, GONE = (
    "not made yet",
    "has not passed its check",
    "a file that it names is gone",
    "has no rows any more",
)


def reasons(asset: str, state: LineageState) -> dict[str, str]:
    """Partition -> why it would be made."""
    recorded, desired = state.known.records.made.get(asset, {}), state.desired.get(asset, {})
    unchecked = state.known.unchecked.get(asset, ())
    changed = what_changed(asset, state)

    def why(partition: str) -> str:
        have, want = recorded.get(partition), desired.get(partition)
        if have == want:
            return UNCHECKED if partition in unchecked else LOST
        return NEW if have is None else GONE if want is None else changed

    return {partition: why(partition) for partition in state.stale.get(asset, [])}


def what_changed(asset: str, state: LineageState) -> str:
    """What is not as it was when the asset was made: what it is made from, or else how.

    Fingerprints are hashes: they tell that something is another, not what. So it is told from parents that are out of
    date themselves, or were made later; times are of whole assets, and a parent may have changed on another date.
    """
    if asset == "raw_listings":
        return "what has landed has changed"
    made_at, node = state.known.made_at, LINEAGE[asset]
    followed = node.fitted_with if node.kept_as else node.parents
    changed = [p for p in followed if p in state.stale or made_at.get(p, 0) > made_at.get(asset, 0)]
    if changed:
        return f"changed since: {', '.join(changed)}"
    return (
        "enough has sold since, or its code or recipe has changed" if node.kept_as else "its code or recipe has changed"
    )


def counted(why: dict[str, str]) -> Counter[str]:
    """Reason -> of how many partitions."""
    return Counter(why.values())
