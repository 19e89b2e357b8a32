"""The paper's recipe on an accelerator: photos a second, against what the card and the CPU can do by themselves.

    python benchmarks/accelerator.py [--photos 3200] [--epochs 3]

Needs a GPU. Photos are the demo's, networks start at random: the arithmetic is the same, and nothing has to be fetched.

`card` is the rate at which it multiplies large bf16 matrices in the same run. A ResNet-50 costs 8.2 GFLOP a photo of
224 px, three times as many to learn from it. `decoding` is what the CPU's cores reach alone; `networks` the card, on
photos that are decoded and on it already; `op` the ops' own code in a Dagster job, whose events tell tag and pool.
Features are held against those of the same networks in single precision on the CPU.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from unittest.mock import patch

import dagster as dg
import numpy as np
import polars as pl
import torch
from measure import report, tell
from torch import nn

from vps_assets.demo.market import make_market
from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import load_extractors, network_features
from vps_ml.backbones.files import gathered
from vps_ml.backbones.networks import accelerator, autocast, normalised, placed, resnet
from vps_ml.backbones.training import photo_source
from vps_ml.ops.backbones import BackboneJob, EmbeddingJob, embed_photos, train_task_backbones
from vps_ml.photos.batches import in_batches, photo_batches
from vps_ml.recipes import Recipe, paper

TASKS = ("category", "brand", "attribute", "specification")
FLOP_PER_PHOTO = 8.2e9
"""Multiplications and additions of a ResNet-50 at 224 px (torchvision: 4.09 GMAC)."""
COMPARED = 64
"""Photos that the CPU embeds, too."""
RESIDENT = 512
ROUNDS = 5


def landed(root: Path, count: int) -> tuple[Artefacts, pl.DataFrame]:
    """The demo's photos as landing stores them, and a row for each with its labels and a date."""
    market = make_market(root / "market", count, 0, lambda line: None)
    artefacts, rows = Artefacts(root), []
    for row in pl.read_parquet(market / "listings.parquet").iter_rows(named=True):
        photo = market / row["image_path"]
        if not photo.exists():  # one of the rows that are spoilt on purpose
            continue
        photo_hash = hashlib.sha256(photo.read_bytes()).hexdigest()
        stored = root / artefacts.photo_key(photo_hash)
        stored.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, stored)
        labels = {"category": row["category"], "brand": row["brand"]}
        lists = {"attribute": row["attributes"], "specification": row["specifications"]}
        day = row["listed_at"].astimezone(UTC).date()
        rows.append(
            {"listing_id": row["listing_id"], "listed_on": day, "photo_hash": photo_hash, "group_key": photo_hash}
            | labels
            | lists
        )
    return artefacts, pl.DataFrame(rows, infer_schema_length=None)


def seconds(way: Callable[[], object]) -> float:
    """Wall time of one call, its work on the card included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def median_seconds(way: Callable[[], object]) -> float:
    way()
    return float(np.median([seconds(way) for _ in range(ROUNDS)]))


def card_flops() -> float:
    """FLOP a second of bf16 matrix products of 8,192 by 8,192."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    return 2 * 8192**3 * 10 / median_seconds(lambda: [a @ b for _ in range(10)])


def learning(recipe: Recipe) -> float:
    """Photos a second that one network learns from, decoded and on the card already."""
    device, size = accelerator(), recipe.backbone.batch_size
    network = resnet(recipe.backbone.architecture, "random", 0)
    network.fc = nn.Linear(network.fc.in_features, 13)
    model = placed(network, device)
    optimizer = torch.optim.AdamW(model.parameters())
    photos = normalised(torch.randint(0, 256, (size, 3, 224, 224), dtype=torch.uint8, device=device))
    labels = torch.randint(0, 13, (size,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(device):
            loss = nn.functional.cross_entropy(model(photos), labels)
        loss.backward()
        optimizer.step()

    return size / median_seconds(step)


def in_dagster(job: BackboneJob, instance: dg.DagsterInstance) -> tuple[pl.DataFrame, dict[str, float], dict]:
    """(the embedded rows, wall seconds of each op, its tag and pool), run as assets run them."""
    found: dict[str, pl.DataFrame] = {}

    @dg.op
    def photos() -> BackboneJob:
        return job

    @dg.op
    def to_embed(trained: pl.DataFrame) -> EmbeddingJob:
        backbones = dict(trained.filter(pl.col("backbone_id").is_not_null()).select("task", "backbone_id").iter_rows())
        return EmbeddingJob(job.rows, backbones, job.recipe, job.artefacts)

    @dg.op
    def keep(embedded: pl.DataFrame) -> None:
        found["rows"] = embedded

    @dg.job(executor_def=dg.in_process_executor)
    def both() -> None:
        keep(embed_photos(to_embed(train_task_backbones(photos()))))

    ran = both.execute_in_process(instance=instance)
    spent = {
        event.step_key: event.event_specific_data.duration_ms / 1000
        for event in ran.all_events
        if event.is_step_success
    }
    ops = {op.name: {"device": op.tags["vps/device"], "pool": op.pool} for op in (train_task_backbones, embed_photos)}
    return found["rows"], spent, ops


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=3200)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this needs a GPU")
    recipe = replace(paper(), backbone=replace(paper().backbone, start="random", epochs=arguments.epochs))
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral() as instance:
        artefacts, rows = landed(Path(folder), arguments.photos)
        measure(artefacts, rows, recipe, instance)


def measure(artefacts: Artefacts, rows: pl.DataFrame, recipe: Recipe, instance: dg.DagsterInstance) -> None:
    flops, px = card_flops(), recipe.backbone.photo_px
    tell(f"{torch.cuda.get_device_name()}: {flops / 1e12:.0f} TFLOP/s in bf16; {rows.height:,} photos of {px} px")
    paths = artefacts.photos(rows["photo_hash"])
    decoding = rows.height / seconds(lambda: list(photo_batches(in_batches(paths), px)))
    torch.cuda.reset_peak_memory_stats()
    embedded, spent, ops = in_dagster(BackboneJob(rows, TASKS, recipe, artefacts), instance)
    peak = torch.cuda.max_memory_allocated() / 2**30
    backbones = dict(zip(TASKS, (path.rpartition("/")[2] for path in paths_of(artefacts, embedded)), strict=True))
    extractors = load_extractors(backbones, recipe.backbone, artefacts)
    some = np.concatenate([photos for photos, _ in photo_batches(in_batches(paths[:RESIDENT]), px)])
    networks = len(some) / median_seconds(lambda: [network_features(part, extractors) for part in np.split(some, 8)])
    whole = len(some) / median_seconds(lambda: network_features(some, extractors))
    prepared = seconds(lambda: photo_source(paths, recipe.backbone, 0, lambda line: None))
    learnt = sum(rows[task].drop_nulls().len() for task in TASKS) * 0.9 * recipe.backbone.epochs
    training = learnt / (spent["train_task_backbones"] - prepared)
    alone = learning(recipe)
    embedding = rows.height / spent["embed_photos"]
    shares = {
        "card: networks, four tasks": networks * len(TASKS) * FLOP_PER_PHOTO / flops,
        "card: networks, all at once": whole * len(TASKS) * FLOP_PER_PHOTO / flops,
        "card: learning": alone * 3 * FLOP_PER_PHOTO / flops,
        "networks: embedding op": embedding / networks,
        "decoding: embedding op": embedding / decoding,
        "learning: training op": training / alone,
    }
    tell(f"  decoding on the CPU                 {decoding:8,.0f} photos/s")
    tell(f"  networks of four tasks, batches 64  {networks:8,.0f} photos/s")
    tell(f"  networks of four tasks, 512 at once {whole:8,.0f} photos/s")
    tell(f"  op embed_photos                     {embedding:8,.0f} photos/s in {spent['embed_photos']:.1f} s")
    tell(f"  one network learning, photos there  {alone:8,.0f} photos/s")
    tell(f"  op train_task_backbones             {training:8,.0f} photos/s in {spent['train_task_backbones']:.1f} s")
    for name, share in shares.items():
        tell(f"  share of {name:34} {share:6.3f}")
    error = against_the_cpu(artefacts, backbones, recipe, embedded, paths)
    tell(f"  features, bf16 on the card against single precision on the CPU: relative error {error:.4f}")
    tell(f"  the card's memory at most {peak:.1f} GiB; {ops}")
    report(
        card_tflops=flops / 1e12,
        decoding=decoding,
        networks=networks,
        networks_at_once=whole,
        embedding=embedding,
        learning=alone,
        training=training,
        shares=shares,
        relative_error=error,
        peak_gib=peak,
        ops=ops,
    )


def paths_of(artefacts: Artefacts, embedded: pl.DataFrame) -> list[str]:
    """The backbones' paths in the order of the tasks."""
    named = artefacts.embeddings.card(embedded["embedding_id"][0])["backbones"]
    return [named[task] for task in TASKS]


def against_the_cpu(
    artefacts: Artefacts, backbones: dict[str, str], recipe: Recipe, embedded: pl.DataFrame, paths: list[Path]
) -> float:
    """How far the op's features of some photos are from the CPU's, as a share of their size."""
    some = embedded.head(COMPARED)
    files = [artefacts.embedding_file(path) for path in some["path"]]
    ours = gathered(files, some["row"].to_list(), TASKS).astype(np.float32)
    hashes = dict(zip(embedded["listing_id"], range(embedded.height), strict=True))
    assert len(hashes) == embedded.height
    with patch("vps_ml.backbones.embedding.accelerator", lambda: torch.device("cpu")):
        extractors = load_extractors(backbones, recipe.backbone, artefacts)
        photos = np.concatenate([p for p, _ in photo_batches(in_batches(paths), recipe.backbone.photo_px)][:4])
        features = network_features(photos[: len(some)], extractors)
    theirs = np.concatenate([features[task] for task in TASKS], axis=1).astype(np.float32)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


if __name__ == "__main__":
    main()
