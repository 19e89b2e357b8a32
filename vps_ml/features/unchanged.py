"""What a row was made from, as a number: what was made of a row that is as it was need not be made again."""

import polars as pl

from vps_ml.cards import identity
from vps_ml.features.tabular import TABULAR

MADE_FROM = "made_from"
WHERE_IT_LIES = ("embedding_path", "embedding_row", "text_path", "text_row")
"""Where a listing's features are, which its photo, its words and the ids of what read them say as well: a date's file
is another as soon as one of its listings has changed."""


def made_from(rows: pl.DataFrame, *alike: object) -> pl.Series:
    """(UInt64) A hash of everything in each row but `WHERE_IT_LIES`; no other row's part in it.

    Of statistics what single precision holds: a mean's last bits differ with how many rows are joined at once. Another
    version of polars may hash otherwise: then everything counts as changed, once.

    Args:
        rows: of listings.
        alike: what else was made from, the same for all rows.
    """
    seed = int(identity(*alike), 16) % 2**63
    statistics = [pl.col(name).cast(pl.Float32) for name in TABULAR if rows.schema.get(name) == pl.Float64]
    return rows.drop(WHERE_IT_LIES, strict=False).with_columns(statistics).hash_rows(seed).alias(MADE_FROM)


def kept(before: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame:
    """What was made before of listings that are as they were.

    Args:
        before: with `listing_id` and `made_from`; None: nothing.
        rows: the listings as they are, with these and `listed_on`.
    """
    if before is None or before.is_empty():
        return rows.select("listing_id", "listed_on", MADE_FROM).clear()
    now = rows.select("listing_id", MADE_FROM)
    return before.join(now, on=["listing_id", MADE_FROM], how="semi", maintain_order="left")
