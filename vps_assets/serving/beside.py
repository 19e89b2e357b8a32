"""What stands beside a price: sold items that look similar, and what is known of the asking price."""

import hashlib
from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.photos.metadata import stripped
from vps_ml.pricing.asking import CHANCES, price_at
from vps_ml.pricing.calibration import ALL, Prediction
from vps_ml.pricing.sold_items import SoldItems


def comparables_of(
    items: SoldItems, point: np.ndarray, row: Mapping[str, Any], artefacts: Artefacts, image: Path | bytes | None
) -> list[dict[str, Any]]:
    """The sold items that look most similar, nearest first; never the offered item itself, by its photo.

    Args:
        items: what has sold.
        point: the item's price features.
        row: the item as a listing.
        artefacts: where photos are.
        image: its photo.
    """
    data = image.read_bytes() if isinstance(image, Path) else image
    own = set() if data is None else {hashlib.sha256(data).hexdigest()}
    kept = None if data is None else stripped(data)
    while True:
        similar = items.items[items.similar(point, row["category"] or "", row["listed_on"], None, own)]
        # The same photo may have come with other metadata: they are cut where photos are kept, and by the page.
        again = {photo for photo in similar["photo_hash"] if kept is not None and is_kept(artefacts.photo(photo), kept)}
        if not again:
            break
        own |= again
    shown = similar.select("listing_id", "photo_hash", "sold_price", pl.col("sold_on").cast(pl.String))
    return shown.to_dicts()


def is_kept(file: Path, picture: bytes) -> bool:
    """Whether a stored photo is this one."""
    try:
        return file.stat().st_size == len(picture) and file.read_bytes() == picture
    except FileNotFoundError:
        return False


Chances = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Inputs and category -> rows of `sale_chances`, fewest days first."""


def by_category(chances: pl.DataFrame) -> Chances:
    """`sale_chances`, to be looked up."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in chances.sort("within_days").to_dicts():
        found.setdefault((row["inputs"], row["category"]), []).append(row)
    return found


def asking_of(
    chances: Chances, inputs: str, category: str, prediction: Prediction, asking_price: float | None
) -> dict[str, Any] | None:
    """What is known of the asking price; None where too few have sold.

    Args:
        chances: by inputs and category.
        inputs: what the item was priced by.
        category: its category.
        prediction: the suggestion.
        asking_price: what is asked for it, in the same money; None: not said.
    """
    rows = chances.get((inputs, category)) or chances.get((inputs, ALL))
    if not rows:
        return None
    suggested = prediction.log_price
    told: dict[str, Any] = {"asking_price": asking_price, "place": None, "chances": []}
    if asking_price is not None:
        asked = log(asking_price)
        told["place"] = place(asked, prediction)
        told["chances"] = [
            {"within_days": row["within_days"], **chance_at(row, asked - suggested)}
            for row in rows
            if row["log_ratio"][0] <= asked - suggested <= row["log_ratio"][-1]  # beyond, next to nobody asks
        ]
    told["prices"] = [
        {"within_days": row["within_days"], "chance": chance, **prices}
        for row in rows
        for chance in CHANCES
        if (prices := prices_of(row, price_at(chance), suggested)) is not None
    ]
    most = rows[-1]
    gain = prices_of(most, "most_gain", suggested)
    told["most_gain"] = None if gain is None else {"within_days": most["within_days"], **gain}
    return told


def place(asked: float, prediction: Prediction) -> str:
    """Where in the range an asking price is, in ln units."""
    low, high = prediction.shown_range
    return "below" if asked < low else "above" if asked > high else "within"


def chance_at(row: Mapping[str, Any], log_ratio: float) -> dict[str, float | None]:
    """The chance of a sale at ln(asking / suggested), with the ends of its interval: of both kinds (docs/adr/0024)."""
    curves = {"chance": "chance", "low": "chance_low", "high": "chance_high", "chosen_chance": "chosen_chance"}
    known = {name: row[of] for name, of in curves.items()}
    return {
        name: None if curve is None else round(float(np.interp(log_ratio, row["log_ratio"], curve)), 4)
        for name, curve in known.items()
    }


def prices_of(row: Mapping[str, Any], column: str, suggested: float) -> dict[str, float] | None:
    """A price, with the ends of its interval; None where none is known."""
    if row[column] is None:
        return None
    ends = {"price": "", "low": "_low", "high": "_high"}
    return {name: round(exp(suggested + row[f"{column}{end}"]), 2) for name, end in ends.items()}
