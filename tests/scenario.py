"""Shared data, each awkward row with the reason why it is there."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.landing.landed import landed_rows
from vps_assets.report.published import Published
from vps_assets.tables.listings import RAW_LISTINGS
from vps_assets.tables.models import MODEL_COMPARISONS
from vps_assets.tables.schemas import aligned, conforming
from vps_ml.evaluation.resampling import verdict
from vps_ml.pricing.baselines import BASELINES

DAY = date(2024, 1, 10)


def noon(day: int) -> datetime:
    """Noon of a day of January 2024."""
    return datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=day - 1)


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (120, 100)) -> Path:
    """A photo with detail, unique by seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def detailed() -> Image.Image:
    """A picture of blocks, sharp and well lit."""
    pixels = np.random.default_rng(0).integers(40, 215, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((192, 192), Image.Resampling.NEAREST)


def listing(number: int, **changed: object) -> dict:
    """One good, sold listing of day 1 to 28, sold the day after."""
    day = 1 + number % 28
    row = {
        "listing_id": f"L{number}",
        "listed_at": noon(day),
        "category": ("phone", "shoes")[number % 2],
        "image_path": f"{number}.png",
        "price": 12.0 + number,
        "sold_at": noon(day + 1),
        "sold_price": 10.0 + number,
        "currency": "EUR",
        "seller_id": f"S{number % 3}",
        "brand": "Acme",
        "group_id": None,
        "attributes": ["white", "cotton"],
        "specifications": ["XL"],
    }
    return row | changed


def listings_file(folder: Path, rows: list[dict], name: str = "listings.parquet") -> Path:
    """The rows as a file, their photos beside it."""
    for row in rows:
        if row["image_path"] and ".." not in row["image_path"] and "\0" not in row["image_path"]:
            photo(folder / row["image_path"], seed=int("".join(c for c in row["image_path"] if c.isdigit()) or 0))
    path = folder / name
    types = {
        "listed_at": pl.Datetime("us", "UTC"),
        "sold_at": pl.Datetime("us", "UTC"),
        "price": pl.Float64,
        "sold_price": pl.Float64,
        "group_id": pl.String,
        "seller_id": pl.String,
        "attributes": pl.List(pl.String),
        "specifications": pl.List(pl.String),
    }
    frame = pl.DataFrame(rows, schema_overrides={k: v for k, v in types.items() if k in rows[0]})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.with_columns(pl.col("listed_at", "sold_at").dt.to_string("iso:strict")).write_ndjson(path)
    else:
        joined = [pl.col(c).list.join("|") for c in ("attributes", "specifications") if c in frame.columns]
        stamps = [pl.col(c).dt.to_string("iso:strict") for c in ("listed_at", "sold_at") if c in frame.columns]
        frame.with_columns(*joined, *stamps).write_csv(path)
    return path


ALL = list(RAW_LISTINGS.columns)


def quiet(message: str) -> None:
    """No progress."""


def rows_landed(home: Home, rows: list[dict], folder: Path, name: str = "listings.parquet") -> pl.DataFrame:
    """Land the rows as a file; everything that is in force then."""
    land([listings_file(folder, rows, name)], None, home, quiet)
    return landed_rows(home, ALL).sort("listing_id")


def with_sellers(home: Home, folder: Path, *rows: tuple[int, str]) -> None:
    """Land a listing a number, of this seller."""
    land([listings_file(folder / "in", [listing(n, seller_id=s) for n, s in rows])], None, home, quiet)


def by_seed(*values: float) -> pl.DataFrame:
    """Report rows of a model, one per seed."""
    return pl.DataFrame({"seed": range(len(values)), "aurc": values})


def comparisons(*rows: tuple[str, str, float], family: str = "served, group") -> Published:
    """A published `model_comparisons`: (rival or claim, metric, difference), each with an interval of ± .03."""
    served = family != "shapes"
    made = [
        {
            "family": family,
            "claim": f"ours beats {name}" if served else name,
            "split_kind": "group",
            "metric": metric,
            "model": "ours",
            "against": name,
            "baseline": name in BASELINES,
            "model_ids": ["a"],
            "against_ids": ["b"],
            "value": 0.4,
            "against_value": 0.4 - difference,
            "difference": difference,
            "low": difference - 0.02,
            "high": difference + 0.02,
            "family_low": difference - 0.03,
            "family_high": difference + 0.03,
            "tested": 100,
            "groups": 90,
            "seeds": 2,
            "verdict": verdict(difference - 0.03, difference + 0.03),
        }
        for name, metric, difference in rows
    ]
    table = conforming(pl.DataFrame(made), MODEL_COMPARISONS) if made else aligned(pl.DataFrame(), MODEL_COMPARISONS)
    return Published({"model_comparisons": table})
