"""What a seller could add to a listing that cannot be priced, and how much each thing helped others.

Axes: N listing.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from vps_ml.features.given import inputs_of_rows
from vps_ml.features.tabular import LOG_RATIO

PIECES: Mapping[str, tuple[str, ...]] = {
    "title": ("title", "description"),
    "brand": ("brand",),
    "condition": ("condition",),
}
"""What a seller can add -> the columns that hold it."""
PHOTO, SHARPER = "photo", "sharper photo"
"""What else can be added, or made better."""


def blanked(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """The rows as if their sellers had not given these, nor labels had a history; words are read again then."""
    gone = [*columns, *(ratio for name in columns if (ratio := f"{name}{LOG_RATIO}") in rows.columns)]
    kept = rows.with_columns(pl.lit(None, rows.schema[name]).alias(name) for name in gone)
    return kept.drop("text_id") if "title" in columns else kept


def gains(
    piece: str,
    rows: pl.DataFrame,
    before: Float[np.ndarray, " N"],
    after: Float[np.ndarray, " N"],
    has: Bool[np.ndarray, " N"],
    before_by: str | None = None,
    reference: Float[np.ndarray, " N"] | None = None,
) -> list[dict]:
    """A row for each kind of inputs before: of the listings refused then, how many are priced after, and the gain.

    Args:
        piece: what is added.
        rows: the listings without it.
        before: their qualification then.
        after: with it.
        has: which listings have it.
        before_by: what they were priced by; None: read off the rows.
        reference: the qualification without it by the model that judges with it, where that is another: listings which
            one model refused are less often refused by any other, so without it nothing added would be a gain as well.
    """
    reference = before if reference is None else reference
    inputs = np.full(rows.height, before_by) if before_by else inputs_of_rows(rows).to_numpy()
    found: list[dict] = []
    for name in np.unique(inputs):
        refused = (inputs == name) & has & (before < 0.5)
        if refused.any():
            gain = (after - reference)[refused]
            more = (after >= 0.5)[refused].mean() - (reference >= 0.5)[refused].mean()
            found.append(
                {
                    "piece": piece,
                    "inputs": str(name),
                    "refused": int(refused.sum()),
                    "priced_share": float(more),
                    "gain": float(gain.mean()),
                    "gain_error": float(gain.std() / np.sqrt(len(gain))),
                }
            )
    return found
