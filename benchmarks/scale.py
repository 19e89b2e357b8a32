"""What a lake, a bucket and Ray cost, against the local default in the same run.

    VPS_WAREHOUSE=… VPS_STORAGE=… RAY_ADDRESS=… python benchmarks/scale.py [--rows 1000000] [--photos 400]

With the settings of docs/scale.md, which name servers; what is not set is left out. CPU seconds are this process's:
the servers' own are not counted, so wall seconds stand beside them.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [*(p for p in sys.path if p != HERE), HERE]

import argparse
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
from measure import cpu_seconds, report, tell, wall_seconds

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse import lake
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.compute import HERE as LOCALLY
from vps_ml.compute import RAY, each, parts
from vps_ml.recipes import small

DAYS, ROWS_A_DAY, ROUNDS = 60, 1000, 9
PHOTO = os.urandom(7000)
BOTH_TASKS = {"category": "category", "price": "price"}
Timed = dict[str, dict[str, float]]


def day_rows(day: date, count: int = ROWS_A_DAY) -> pl.DataFrame:
    numbers = np.arange(count)
    return pl.DataFrame({"day": [day] * count, "listing_id": numbers, "price": numbers * 0.5, "title": ["a"] * count})


def both(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> Timed:
    """Median CPU and wall seconds of each way, in turns."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found: list[float] = []
            wall = wall_seconds(lambda way=way, found=found: found.append(cpu_seconds(way)))
            spent[name].append((found[0], wall))
    return {
        name: dict(zip(("cpu_s", "wall_s"), np.median(each_, axis=0), strict=True)) for name, each_ in spent.items()
    }


def told(what: str, timed: Timed, ours: str) -> Timed:
    tell(what)
    for name, figures in timed.items():
        ratio = figures["cpu_s"] / timed[ours]["cpu_s"]
        tell(
            f"  {name:10} {1e3 * figures['cpu_s']:9.1f} ms CPU {1e3 * figures['wall_s']:9.1f} ms  {ratio:7.2f} x {ours}"
        )
    return timed


def tables(homes: dict[str, Home], rows: int) -> dict[str, Timed]:
    """Replacing and reading one of sixty dates, publishing, and taking in many rows at once."""
    warehouses = {name: Warehouse(home) for name, home in homes.items()}
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(DAYS)]
    for warehouse in warehouses.values():
        every = pl.concat(day_rows(day) for day in days)
        warehouse.replace("listings", every, "true", [], {str(day): Fingerprint("a") for day in days})

    def write(warehouse: Warehouse) -> None:
        warehouse.replace("listings", day_rows(days[7]), "day = ?", [days[7]], {str(days[7]): Fingerprint("b")})

    found = {
        "replace": told(
            "replace one date of 60", both({n: lambda w=w: write(w) for n, w in warehouses.items()}), "file"
        ),
        "read": told(
            "read one date of 60",
            both({n: lambda w=w: w.read("listings", "day = ?", [days[9]]) for n, w in warehouses.items()}),
            "file",
        ),
        "known": told("read all fingerprints", both({n: w.known for n, w in warehouses.items()}), "file"),
    }

    def published(warehouse: Warehouse) -> None:
        write(warehouse)
        publication_of(warehouse).publish()

    ways = {n: lambda w=w: published(w) for n, w in warehouses.items()}
    found["publish"] = told("replace one date of 60 and publish", both(ways), "file")
    many = day_rows(days[0], rows)
    ways = {
        n: lambda w=w: w.replace("landed", many, "true", [], {"all": Fingerprint("a")}) for n, w in warehouses.items()
    }
    found["landed"] = told(f"take in {rows:,} rows", both(ways, 1), "file")
    return found


def photos(homes: dict[str, Home]) -> dict[str, Timed]:
    """Storing a photo and reading it on a host that has no copy, a hundred at a time."""
    from vps_assets.landing.photos import store

    hashes = [uuid.uuid4().hex * 2 for _ in range(100)]
    putting = {n: lambda home=home: [store(h, PHOTO, home) for h in hashes] for n, home in homes.items()}
    put = told("store 100 photos", both(putting, 1), "file")

    def fetched(home: Home) -> list[bytes]:
        if home.bucket:
            for photo_hash in hashes:
                (home.path / home.artefacts.photo_key(photo_hash)).unlink(missing_ok=True)
        return [path.read_bytes() for path in home.artefacts.photos(hashes)]

    getting = {n: lambda home=home: fetched(home) for n, home in homes.items()}
    return {"put": put, "get": told("read 100 photos, no copy here", both(getting, 3), "file")}


def nothing(job: int, log: Callable[[str], None]) -> int:
    return job


def busy(job: int, log: Callable[[str], None]) -> float:
    """Some seconds of one core."""
    a, start = np.random.default_rng(job).random((400, 400)), time.process_time()
    while time.process_time() - start < 5:
        a = a @ a / np.linalg.norm(a)
    return float(a.sum())


def tasks() -> dict[str, Timed]:
    """A job that does nothing, and jobs of five seconds of one core, two of them."""
    each(RAY, nothing, [1, 2], tell)  # workers start
    alone = both({"file": lambda: each(LOCALLY, nothing, [1], tell), "ray": lambda: each(RAY, nothing, [1], tell)}, 5)
    ways = {"one job": lambda: each(RAY, busy, [1], tell), "two jobs": lambda: each(RAY, busy, [1, 2], tell)}
    return {
        "task": told("a job that does nothing", alone, "file"),
        "two": told("jobs of 5 s", both(ways, 2), "one job"),
    }


def embedding(folder: Path, count: int) -> Timed:
    """Embedding as the recipe `small` does, ResNet-50 at 176 px and two tasks, by one task of Ray and by two."""
    from safetensors.numpy import load_file

    from vps_assets.demo.market import make_market
    from vps_ml.backbones.networks import resnet
    from vps_ml.ops.backbones import MissingDates, embed_dates
    from vps_ml.training_loop import weights

    artefacts = Artefacts(folder / "embedding")
    pictures = sorted(make_market(folder / "market", count, 0, lambda line: None).rglob("*.jpg"))[:count]
    hashes = [hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures]
    for photo_hash, picture in zip(hashes, pictures, strict=True):
        target = artefacts.root / artefacts.photo_key(photo_hash)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    recipe = replace(small().backbone, start="random")
    state = {"state": weights(resnet(recipe.architecture, "random", 0))}
    for task in ("category", "price"):
        artefacts.models.make(task, lambda: Contents({"kind": "backbone"}, arrays=state))
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(8)]
    rows = {day: part for day, part in zip(days, parts(hashes, len(days)), strict=True)}

    def embed(jobs: int) -> list[dict[str, np.ndarray]]:
        files = {
            f"embeddings/{jobs}/{day}.safetensors": pl.DataFrame({"listed_on": [day] * len(part), "photo_hash": part})
            for day, part in rows.items()
        }
        shares = [MissingDates(dict(part), BOTH_TASKS, recipe, artefacts) for part in parts(list(files.items()), jobs)]
        each(RAY, embed_dates, shares, lambda line: None)
        made = [load_file(artefacts.root / path) for path in files]
        shutil.rmtree(artefacts.root / "embeddings" / str(jobs))
        return made

    for by_two, by_one in zip(embed(2), embed(1), strict=True):
        assert by_two.keys() == by_one.keys()
        assert all(np.array_equal(by_two[name], by_one[name]) for name in by_one), "it depends on who embeds"
    ways = {"one task": lambda: embed(1), "two tasks": lambda: embed(2)}
    return told(f"embed {len(hashes):,} photos", both(ways, 3), "one task")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--photos", type=int, default=400)
    arguments = parser.parse_args()
    settings = Home.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        file = Home(Path(folder) / "file")
        found: dict[str, object] = {}
        if settings.lake:
            scaled = replace(settings, path=Path(folder) / "lake")
            lake.initialise(scaled)
            found["tables"] = tables({"file": file, "lake": scaled}, arguments.rows)
        if settings.bucket:
            bucket = Home(Path(folder) / "copies", bucket=f"{settings.bucket}/{uuid.uuid4().hex[:8]}")
            found["photos"] = photos({"file": file, "bucket": bucket})
        if os.environ.get("RAY_ADDRESS"):
            found["tasks"] = tasks()
            found["embedding"] = embedding(Path(folder), arguments.photos)
        report(**found)


if __name__ == "__main__":
    main()
