"""The power fails at every step: what was acknowledged is on the disk, and nothing half-made stops a later command.

A file system on a loop device is written to, and before each step its image is copied: what the device has not been
given by then is lost, as with the power. Needs root; where a device is not to be had, the order of the steps is held
alone (`tests/vps_ml/test_durable.py`).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
from conftest import REPOSITORY
from scenario import listing, photo, quiet

from vps_assets.home import Home
from vps_assets.landing.inbox import dropped, take_in
from vps_assets.landing.landed import landed_rows
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.cards import Contents

FILES, PHOTOS = ("a.csv", "b.csv"), 3
MUST_CUT = 40
WRITE = """
import json, os, shutil, sys
from pathlib import Path
import numpy as np
import polars as pl
from vps_assets.home import Home
from vps_assets.landing.inbox import take_in
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.cards import Contents
from vps_ml.backbones.files import save_embeddings

mounted, image, cuts = map(Path, sys.argv[1:])
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
acknowledged, number, cutting = [], 0, False

def cut(event="now", arguments=()):
    global number, cutting
    if cutting or event not in ({"now"} | STEPS):
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    if arguments and not str(arguments[0]).startswith(str(mounted)):
        return
    cutting = True
    os.system(f"cp --sparse=always {image} {cuts}/{number}.img")
    (cuts / f"{number}.json").write_text(json.dumps([acknowledged, event]))
    number += 1
    cutting = False

import os as _os
fsync = _os.fsync
def cut_and_sync(handle):
    cut()
    fsync(handle)
_os.fsync = cut_and_sync
sys.addaudithook(cut)
home = Home(mounted / "home")
for name in ("a.csv", "b.csv"):
    taken = take_in([name], home, lambda line: None)
    assert list(taken.landed) == [name], taken
    acknowledged.append(name)
    cut()
warehouse = Warehouse(home)
for price in (1.0, 2.0):
    rows = pl.DataFrame({"price": [price]})
    warehouse.replace("prices", rows, "true", [], {"": Fingerprint(str(price))})
    acknowledged.append(f"price {price}")
    cut()
publication_of(warehouse).publish()
acknowledged.append("published")
cut()
home.artefacts.models.make("0123456789abcdef", lambda: Contents({"kind": "x"}, {"state": {"w": np.ones(5000)}}))
acknowledged.append("model")
cut()
day = home.artefacts.embedding_file("embeddings/x/day.safetensors")
save_embeddings(day, {"a": np.ones((9, 9), np.float16)}, np.ones((9, 4)))
acknowledged.append("embeddings")
cut()
"""


def can_mount() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # this process keeps the lock that shows it is alive


def blank_disk(folder: Path) -> Path:
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    return image


def fill_inbox(home: Home) -> None:
    for number, name in enumerate(FILES):
        rows = [listing(10 * number + i, image_path=f"photos/{10 * number + i}.jpg") for i in range(PHOTOS)]
        for row in rows:
            photo(home.inbox / row["image_path"], int(row["listing_id"][1:]), (80, 80))
        labels = ("attributes", "specifications")
        frame = pl.DataFrame([{**row, **{name: "|".join(row[name]) for name in labels}} for row in rows])
        frame.write_csv(home.inbox / name)


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="needs root and loop devices")
def test_whatever_was_acknowledged_survives_a_power_failure_at_any_step(tmp_path: Path) -> None:
    image, cuts = blank_disk(tmp_path), tmp_path / "cuts"
    cuts.mkdir()
    with mounted(image, tmp_path / "disk") as disk:
        fill_inbox(Home(disk / "home"))
        os.sync()
        command = [sys.executable, "-c", WRITE, str(disk), str(image), str(cuts)]
        ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        with_all = landed_rows(Home(disk / "home"), ["listing_id", "photo_hash"]).sort("listing_id")
        stored = {h: Home(disk / "home").artefacts.photo(h).read_bytes() for h in with_all["photo_hash"]}
    steps = sorted(int(path.stem) for path in cuts.glob("*.json"))
    assert len(steps) > MUST_CUT
    for step in steps:
        acknowledged, event = json.loads((cuts / f"{step}.json").read_text())
        with mounted(cuts / f"{step}.img", tmp_path / "after") as disk:
            try:
                holds(Home(disk / "home"), acknowledged, with_all, stored)
            except Exception as error:
                raise AssertionError(f"power lost at step {step} ({event}), after {acknowledged}") from error


def holds(home: Home, acknowledged: list[str], with_all: pl.DataFrame, stored: dict[str, bytes]) -> None:
    """Everything acknowledged is there; what was not is there whole or not at all; what follows works."""
    rows = landed_rows(home, ["listing_id", "photo_hash"])
    for number, name in enumerate(FILES):
        mine = with_all.filter(pl.col("listing_id").str.slice(1).cast(pl.Int64) // 10 == number)
        landed = rows.join(mine, on=["listing_id", "photo_hash"], how="semi").height
        assert landed in (0, PHOTOS)
        assert landed == PHOTOS or name not in acknowledged
        assert landed == PHOTOS or (home.inbox / name).exists()
        for photo_hash in mine["photo_hash"] if landed else ():
            assert home.artefacts.photo(photo_hash).read_bytes() == stored[photo_hash]
    prices = [float(line.split()[1]) for line in acknowledged if line.startswith("price")]
    read = Warehouse(home).read("prices")
    assert not prices or (read is not None and read["price"][0] >= prices[-1])
    if "published" in acknowledged:
        with duckdb.connect(str(home.analytics), read_only=True) as connection:
            assert connection.execute("from prices").fetchall() == [(2.0,)]
    models, model_id = home.artefacts.models, "0123456789abcdef"
    if "model" in acknowledged:
        assert models.arrays(model_id, "state")["w"].size == 5000
    take_in([file.name for file in dropped(home.inbox)], home, quiet)
    again = landed_rows(home, ["listing_id", "photo_hash"]).sort("listing_id")
    assert again.equals(with_all)
    assert {h: home.artefacts.photo(h).read_bytes() for h in again["photo_hash"]} == stored
    Warehouse(home).replace("prices", pl.DataFrame({"price": [3.0]}), "true", [], {})
    assert publication_of(Warehouse(home)).publish()
    models.make(model_id, lambda: Contents({"kind": "y"}))
    assert models.card(model_id)["kind"] == ("x" if "model" in acknowledged else models.card(model_id)["kind"])
