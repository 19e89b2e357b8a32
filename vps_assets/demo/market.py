"""The demo marketplace as a folder: listings.parquet, photos, and the truth in a file of its own."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from math import exp, log
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from vps_assets.demo.catalogue import (
    BRANDS,
    BROKEN_EFFECT,
    CAN_BREAK,
    CATEGORIES,
    COLOURS,
    EDITIONS,
    FAULTS,
    PATTERNS,
    RECEIPT_EFFECT,
    SIZES,
    WEAR_EFFECT,
    Item,
)
from vps_assets.demo.photos import draw_photo
from vps_assets.demo.sales import sale
from vps_assets.demo.words import manners, said
from vps_ml.atomic import temporary_name

Drawing = tuple[Item, str | None, tuple[int, ...]]
"""An item, its photo's fault and seed: what `draw_photo` takes."""
VERSION = 3
"""Raise it when the same seed would draw another marketplace."""
MARKER = "market.json"
"""Stands in the folder of a marketplace that is whole."""
DAYS = 90
SELLERS = 300
FAULT_SHARE = 0.15
ABSURD_SHARE = 0.03
WRONG_CATEGORY_SHARE = 0.04
MISSING = {"brand": 0.25, "attributes": 0.15, "specifications": 0.2, "seller_id": 0.03}
RELISTED_SHARE = 0.02
"""Listed again with the same photo by the same seller."""
WITHDRAWN_SHARE = 0.05
"""Never sold, at whatever price; others are open until their day of sale comes."""
BROKEN_SHARE, RECEIPT_SHARE = 0.12, 0.15
TREND_PER_DAY = 0.0015
BAD_ROWS = 24


def draw_item_of(rng: np.random.Generator) -> Item:
    """A random item, categories in the paper's shares, brands of a category's liking."""
    names = list(CATEGORIES)
    shares = np.array([CATEGORIES[name].share for name in names])
    brands = list(BRANDS)
    popularity = np.array([0.08, 0.1, 0.12, 0.15, 0.18, 0.15, 0.12, 0.1])
    category = names[rng.choice(len(names), p=shares / shares.sum())]
    return Item(
        category=category,
        brand=brands[rng.choice(len(brands), p=popularity)],
        colour=str(rng.choice(list(COLOURS))),
        pattern=str(rng.choice(list(PATTERNS), p=[0.4, 0.25, 0.2, 0.15])),
        size=str(rng.choice(list(SIZES))),
        edition="limited" if rng.random() < 0.2 else "classic",
        wear=float(rng.beta(1.2, 2.5)),
        works=category not in CAN_BREAK or bool(rng.random() >= BROKEN_SHARE),
        receipt=bool(rng.random() < RECEIPT_SHARE),
    )


def noise_free_log_price(item: Item, seller_level: float, day: float) -> float:
    """What the item is worth: visible in the photo but for defects, receipts, the seller's level and the day's."""
    return (
        log(CATEGORIES[item.category].base_price)
        + log(BRANDS[item.brand][0])
        + log(COLOURS[item.colour][0])
        + log(PATTERNS[item.pattern])
        + log(SIZES[item.size][0])
        + log(EDITIONS[item.edition])
        + WEAR_EFFECT * item.wear
        + (0.0 if item.works else BROKEN_EFFECT)
        + (RECEIPT_EFFECT if item.receipt else 0.0)
        + seller_level
        + TREND_PER_DAY * day
    )


def simulated(count: int, seed: int, last_date: date) -> tuple[list[dict], list[dict], list[Drawing]]:
    """(listings, truths, photos to draw), in the order of listing; of `DAYS` days that end with `last_date`."""
    begin = datetime.combine(last_date, time(), UTC) - timedelta(days=DAYS - 1)
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.25, SELLERS)
    manner = manners(rng, SELLERS)
    activity = 1 / np.arange(1, SELLERS + 1) ** 0.8  # very unequal: the busiest lists a hundred times the median
    listings: list[dict] = []
    truths: list[dict] = []
    photos: list[Drawing] = []
    listed = np.sort(rng.uniform(0, DAYS, count))
    for number, day in enumerate(listed):
        relisted = number > 50 and rng.random() < RELISTED_SHARE
        if relisted:
            photo = truths[int(rng.integers(max(0, number - 800), number))]["photo"]
            seller = truths[photo]["seller"]
            item, fault, _ = photos[photo]
        else:
            item = draw_item_of(rng)
            seller = int(rng.choice(SELLERS, p=activity / activity.sum()))
            fault = str(rng.choice(FAULTS)) if rng.random() < FAULT_SHARE else None
            photo = number
        photos.append((item, fault, (seed, photo)))
        noise = CATEGORIES[item.category].noise
        clear = noise_free_log_price(item, float(level[seller]), float(day))
        worth = exp(clear + rng.normal(0, noise))
        absurd = bool(rng.random() < ABSURD_SHARE)
        if absurd:
            worth = float(rng.choice([1.0, worth * 40, 9999.0]))
        listed_at = begin + timedelta(days=float(day))
        sold = sale(worth, DAYS - float(day), bool(rng.random() < WITHDRAWN_SHARE), rng)
        sold_at = None if sold.days_to_sale is None else listed_at + timedelta(days=sold.days_to_sale)
        words = said(item, manner[seller], sold.first_asking_price, rng)
        category = str(rng.choice(list(CATEGORIES))) if rng.random() < WRONG_CATEGORY_SHARE else item.category
        missing = {name: rng.random() < share for name, share in MISSING.items()}
        listings.append(
            {
                "listing_id": f"L{number:05d}",
                "listed_at": listed_at,
                "category": category,
                "image_path": f"images/{photo:05d}.jpg",
                "price": round(sold.first_asking_price, 2),
                "sold_at": sold_at,
                "sold_price": None if sold.sold_price is None else round(sold.sold_price, 2),
                "currency": "EUR",
                "seller_id": None if missing["seller_id"] else f"S{seller:03d}",
                "brand": None if missing["brand"] else item.brand,
                "group_id": None,
                "attributes": None if missing["attributes"] else [item.colour, item.pattern],
                "specifications": None if missing["specifications"] else [item.size, item.edition],
                "title": words.title,
                "description": words.description,
                "condition": words.condition,
            }
        )
        truths.append(
            {
                "listing_id": f"L{number:05d}",
                "noise_free_log_price": clear,
                "noise": noise,
                "fault": fault,
                "absurd": absurd,
                "true_category": item.category,
                "true_brand": item.brand,
                "wear": item.wear,
                "works": item.works,
                "receipt": item.receipt,
                "manner": words.manner,
                "worth": worth,
                "first_asking_price": sold.first_asking_price,
                "asking_price": sold.asking_price,
                "days_to_sale": sold.days_to_sale,
                "photo": photo,
                "seller": seller,
            }
        )
    spoil(listings, truths, rng)
    return listings, truths, photos


def spoil(listings: list[dict], truths: list[dict], rng: np.random.Generator) -> None:
    """Make a few rows bad, each in one or two ways that landing has to find."""
    for turn, number in enumerate(rng.choice(len(listings), BAD_ROWS, replace=False)):
        row = listings[number]
        truths[number]["spoilt"] = True
        if turn % 4 == 0:
            row["price"] = -1.0
        elif turn % 4 == 1:
            row["image_path"] = "images/lost.jpg"
        elif turn % 4 == 2:
            row["sold_at"], row["sold_price"] = row["listed_at"] - timedelta(days=1), 10.0
        else:
            row["price"], row["category"] = 0.0, None


def draw_to(folder: str, numbers: list[int], photos: list[Drawing]) -> int:
    """Draw some photos into the folder; how many."""
    for number, photo in zip(numbers, photos, strict=True):
        (Path(folder) / f"{number:05d}.jpg").write_bytes(draw_photo(*photo))
    return len(numbers)


def is_drawn(folder: Path, count: int, seed: int, last_date: date | None = None) -> bool:
    """Whether this marketplace is there already; whichever its last date, where none is asked for."""
    marker, asked = folder / MARKER, parameters_of(count, seed)
    if last_date is not None:
        asked["last_date"] = last_date.isoformat()
    return marker.exists() and asked.items() <= json.loads(marker.read_text()).items()


def parameters_of(count: int, seed: int) -> dict[str, object]:
    """What tells one marketplace from another, beside its last date."""
    return {"version": VERSION, "listings": count, "seed": seed}


def make_market(
    folder: Path, count: int, seed: int, progress: Callable[[str], None], last_date: date | None = None
) -> Path:
    """Make the marketplace unless it exists; its folder.

    It ends on `last_date`; by default yesterday (UTC), or whenever the one that exists ended: a marketplace whose
    last day is long ago has hundreds of dates without listings in the UI, and nothing that is fresh.

    `truth.parquet` has each listing's noise-free price, its photo's fault, the noise level, what only words tell, and
    how it was offered: no asset reads it, so that tests and benchmarks can hold the system against an oracle.
    """
    if is_drawn(folder, count, seed, last_date):
        progress(f"the demo marketplace exists already: {count:,} listings")
        return folder
    if folder.exists() and not (folder / MARKER).exists():
        raise FileExistsError(f"{folder} is not a demo marketplace: move it away, or choose another VPS_HOME")
    last_date = last_date or datetime.now(UTC).date() - timedelta(days=1)
    listings, truths, photos = simulated(count, seed, last_date)
    temporary = folder.with_name(temporary_name(folder.name))
    images = temporary / "images"
    images.mkdir(parents=True)
    own = [number for number, truth in enumerate(truths) if truth["photo"] == number]
    chunks = [own[i : i + 200] for i in range(0, len(own), 200)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(draw_to, str(images), chunk, [photos[n] for n in chunk]) for chunk in chunks]
        drawn = 0
        for job in jobs:
            drawn += job.result()
            progress(f"{drawn:,} of {len(own):,} photos drawn")
    words = dict.fromkeys(("group_id", "title", "description", "condition"), pl.String)
    types: dict = {**words, "sold_at": pl.Datetime("us", "UTC"), "sold_price": pl.Float64}
    pl.DataFrame(listings, schema_overrides=types, infer_schema_length=None).write_parquet(
        temporary / "listings.parquet"
    )
    truth = pl.DataFrame([{"spoilt": False} | t for t in truths], infer_schema_length=None)
    truth.drop("photo", "seller").write_parquet(temporary / "truth.parquet")
    (temporary / MARKER).write_text(json.dumps(parameters_of(count, seed) | {"last_date": last_date.isoformat()}))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder
