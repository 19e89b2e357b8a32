"""A few sales, and the statistics tables that they come to."""

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.statistics_state import KEYS, Correction, correct_history
from vps_ml.recipes import demo

FIRST = date(2024, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


# id, listed, sold, price, category, seller
ROWS = [
    ("a", 1, 2, 10.0, "phone", "ann"),
    ("b", 1, 3, 20.0, "phone", "bob"),
    ("c", 2, 3, 40.0, "shoes", "ann"),
    ("d", 3, 4, 80.0, "phone", "ann"),
    ("e", 4, None, None, "phone", None),  # open, nobody's: falls back to its category
    ("f", 4, None, None, "lamp", "zoe"),  # nothing like it was ever sold: falls back to all
]


CLEAN = pl.DataFrame(
    {
        "listing_id": [r[0] for r in ROWS],
        "listed_on": [day(r[1]) for r in ROWS],
        "sold_on": [None if r[2] is None else day(r[2]) for r in ROWS],
        "sold_price": [r[3] for r in ROWS],
        "category": [r[4] for r in ROWS],
        "seller_id": [r[5] for r in ROWS],
        "brand": ["Acme", "Brio", "Acme", None, "Acme", "Unknown"],
        "condition": ["new", None, "new", None, "new", None],
        "attributes": [["white", "white"], ["white", "wool"], [], None, ["white", "wool"], ["silk"]],
        "specifications": [None] * 6,
    },
    schema_overrides={"sold_on": pl.Date, "specifications": pl.List(pl.String)},
)


def clean_written(warehouse: Warehouse, rows: pl.DataFrame) -> Warehouse:
    """The rows as `clean_listings`, each date's fingerprint that of what is in it."""
    by_date = rows.partition_by("listed_on", as_dict=True)
    made = {str(listed_on): Fingerprint(str(hash(str(part.rows())))) for (listed_on,), part in by_date.items()}
    recorded = warehouse.records().made.get("clean_listings", {})
    warehouse.replace("clean_listings", rows, "true", [], dict.fromkeys(recorded) | made)
    return warehouse


def corrected(warehouse: Warehouse) -> dict[str, Correction]:
    """Bring all statistics tables up to date; what was done, by table."""
    return {asset: correct_history(warehouse, asset, demo()) for asset in KEYS}


def tables(warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """History -> its table."""
    return {asset.removesuffix("_statistics"): warehouse.read(asset) for asset in KEYS}


def tables_of(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The statistics tables of some clean listings, computed whole."""
    with TemporaryDirectory() as folder:
        warehouse = clean_written(Warehouse(Home(Path(folder))), rows)
        corrected(warehouse)
        return tables(warehouse)


def sale(listing_id: str, listed: int, sold: int, price: float, seller: str = "ann") -> pl.DataFrame:
    """One more sale of a phone."""
    row = (listing_id, day(listed), day(sold), price, "phone", seller, "Acme", None, None, None)
    return pl.DataFrame([row], schema=CLEAN.schema, orient="row")


def with_the_sales(warehouse: Warehouse) -> Warehouse:
    """A warehouse of `CLEAN` and its statistics."""
    corrected(clean_written(warehouse, CLEAN))
    return warehouse


def bent(warehouse: Warehouse, asset: str, change: str) -> None:
    """Change a table behind the code's back."""
    with warehouse.connect(read_only=False) as connection:
        connection.execute(f"update {asset} set {change}")
