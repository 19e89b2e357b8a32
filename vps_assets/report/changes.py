"""What changed for sellers when another model came into force."""

from math import exp

import polars as pl

from vps_assets.report.comparisons import BY, percent
from vps_assets.report.published import Published
from vps_assets.report.tables import Table

SHOWN = 10
LITTLE = 0.05
"""A price that moved by less than a twentieth is told as one that stayed."""


def change_table(published: Published) -> Table:
    """How many suggestions a new champion moved, and by how much, by what they were priced by."""
    changes = published["suggestion_changes"]
    rows = []
    for inputs in [name for name in BY if changes.height and name in changes["inputs"]]:
        mine = changes.filter(pl.col("inputs") == inputs)
        both = mine["log_change"].drop_nulls()
        moved = both.filter(both.abs() > LITTLE)
        before, now = mine["qualified_before"], mine["qualified"]
        rows.append(
            (
                BY[inputs],
                f"{mine.height:,}",
                f"{moved.len():,} of {both.len():,}",
                f"{moved.filter(moved > 0).len():,} up, {moved.filter(moved < 0).len():,} down",
                "–" if both.is_empty() else percent(exp(both.abs().median()) - 1),  # type: ignore[arg-type]
                f"{(~before & now).sum():,}",
                f"{(before & ~now).sum():,}",
            )
        )
    columns = (
        "priced by", "open listings", "price moved", "which way", "median move", "gained a price", "lost theirs",
    )  # fmt: skip
    note = (
        "Each open listing's suggestion beside the last one by the model before, table `suggestion_changes`; a price "
        f"has moved if by more than {percent(LITTLE)}. Empty until a champion has been replaced."
    )
    return Table("What changed with the newest champions", columns, rows, note)


def most_moved_table(published: Published) -> Table:
    """The suggestions that moved most."""
    changes = published["suggestion_changes"]
    moved = changes.drop_nulls("log_change") if changes.height else changes
    if moved.height:
        moved = moved.sort(pl.col("log_change").abs(), pl.col("listing_id"), descending=[True, False])
    rows = [
        (
            row["listing_id"],
            BY[row["inputs"]],
            f"{row['suggested_price_before']:,.2f}",
            f"{row['suggested_price']:,.2f}",
            f"{100 * (exp(row['log_change']) - 1):+.0f}%",
            f"{row['model_id_before']} → {row['model_id']}",
        )
        for row in moved.head(SHOWN).to_dicts()
    ]
    columns = ("listing", "priced by", "before", "now", "change", "models")
    return Table("The suggestions that moved most", columns, rows)


def change_tables(published: Published) -> list[Table]:
    """What changed; one table where nothing did."""
    moved = most_moved_table(published)
    return [change_table(published), *([moved] if moved.rows else [])]
