"""Photos to features for all four tasks, against the naive loop.

    python benchmarks/embedding.py [--photos 48] [--full]

The naive loop decodes with PIL and runs an eager ResNet-50 per task in inference_mode, so four passes over the files,
with the default allocator, in a process of its own. Ours is the asset's own code. `forward` is ours without photos to
decode: what the networks alone reach. Compared at ResNet-50 and 224 px, with the `demo` recipe's nets, and with a trunk
shared by the tasks (the `small` recipe). OpenVINO and ONNX Runtime, also in int8, have their turn where they are
installed: pip install openvino nncf.
"""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
sys.path[:] = [
    *(p for p in sys.path if p != HERE),
    HERE,
]  # torch must not take statistics.py for the standard library's

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from landing import draw_photos
from measure import peak_mib, report, tell
from PIL import Image
from torch import nn

from vps_ml.allocator import keep_freed_memory
from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import embed, embedded, load_extractors
from vps_ml.backbones.networks import normalised, resnet
from vps_ml.cards import Contents
from vps_ml.photos.batches import BATCH_PHOTOS, in_batches
from vps_ml.recipes import BackboneRecipe, demo, paper, small
from vps_ml.training_loop import weights

Features = dict[str, np.ndarray]
Embedder = Callable[[], Features]
Way = Callable[[list[Path], Artefacts, BackboneRecipe], Embedder]
TASKS = ("category", "brand", "attribute", "specification")
ROUNDS = 3


def backbones(folder: Path, recipe: BackboneRecipe) -> Artefacts:
    """A network per task, its id the task's name, from random starts; what is frozen is equal in all."""
    shared = resnet(recipe.architecture, "random", 0)
    stages = ["conv1", "bn1", *(f"layer{i}" for i in range(1, 5))][: recipe.frozen_stages + 1]
    frozen = stages if recipe.frozen_stages else []
    artefacts = Artefacts(folder)
    for i, task in enumerate(TASKS):
        network = resnet(recipe.architecture, "random", i)
        for name in frozen:
            getattr(network, name).load_state_dict(getattr(shared, name).state_dict())
        artefacts.models.make(task, lambda network=network: Contents({}, arrays={"state": weights(network)}))
    return artefacts


def naive(paths: list[Path], artefacts: Artefacts, recipe: BackboneRecipe) -> Embedder:
    """What one writes first: a pass over the files for each task, photo by photo decoded, batches of 16."""
    networks = {}
    for task in TASKS:
        state = artefacts.models.folder / task / "state.safetensors"
        networks[task] = resnet(recipe.architecture, str(state), 0).eval()
        networks[task].fc = nn.Identity()

    def embedder() -> Features:
        found = {}
        for task, network in networks.items():
            rows = []
            with torch.inference_mode():
                for i in range(0, len(paths), 16):
                    photos = [square(path, recipe.photo_px) for path in paths[i : i + 16]]
                    rows.append(network(normalised_plainly(torch.from_numpy(np.stack(photos)))).numpy())
            found[task] = np.concatenate(rows)
        return found

    return embedder


def square(path: Path, side: int) -> np.ndarray:
    from PIL import ImageOps

    with Image.open(path) as photo:
        fitted = ImageOps.fit(photo.convert("RGB"), (side, side), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1))


def normalised_plainly(photos: torch.Tensor) -> torch.Tensor:
    return normalised(photos).contiguous(memory_format=torch.contiguous_format)


def ours(paths: list[Path], artefacts: Artefacts, recipe: BackboneRecipe) -> Embedder:
    extractors = load_extractors({task: task for task in TASKS}, recipe, artefacts)
    return lambda: embed(paths, extractors)[0]


def forward(paths: list[Path], artefacts: Artefacts, recipe: BackboneRecipe) -> Embedder:
    """Our networks on batches that are decoded already."""
    extractors = load_extractors({task: task for task in TASKS}, recipe, artefacts)
    photos = torch.randint(0, 256, (BATCH_PHOTOS, 3, recipe.photo_px, recipe.photo_px), dtype=torch.uint8)

    def embedder() -> Features:
        with torch.inference_mode():
            for i in range(0, len(paths), BATCH_PHOTOS):
                shared = extractors.trunk(normalised(photos[: len(paths[i : i + BATCH_PHOTOS])]))
                for stage in extractors.stages.values():
                    stage(shared).half().numpy()
        return {}

    return embedder


class Worker:
    """One way in a process of its own, so that allocators and threads do not mix; called many times."""

    def __init__(self, way: Way, tuned: bool, *arguments: object) -> None:
        self.here, other_end = multiprocessing.get_context("spawn").Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(other_end, way, tuned, arguments), daemon=True)
        self.process.start()

    def __call__(self) -> tuple[float, Features]:
        """(seconds, features); the networks are loaded before."""
        self.here.send("go")
        return self.here.recv()

    def stop(self) -> None:
        self.here.send("stop")
        self.process.join()


def serve(end: "multiprocessing.connection.Connection", way: Way, tuned: bool, arguments: tuple) -> None:
    if tuned:
        keep_freed_memory()
    embedder = way(*arguments)
    while end.recv() == "go":
        start = time.perf_counter()
        found = embedder()
        end.send((time.perf_counter() - start, found))


def compared(ways: dict[str, tuple[Way, bool]], paths: list[Path], recipe: BackboneRecipe, folder: Path) -> dict:
    """Median seconds of interleaved rounds by way, and the least cosine of ours with the naive loop's features."""
    artefacts = backbones(folder, recipe)
    workers = {name: Worker(way, tuned, paths, artefacts, recipe) for name, (way, tuned) in ways.items()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for number in range(ROUNDS + 1):  # the first warms up
        for name, worker in workers.items():
            seconds, found[name] = worker()
            if number:
                spent[name].append(seconds)
    for worker in workers.values():
        worker.stop()
    medians = {name: float(np.median(seconds)) for name, seconds in spent.items()}
    for name, seconds in medians.items():
        rate = len(paths) / seconds
        tell(f"  {name:28} {rate:8.1f} photos/s  {medians['naive'] / seconds:5.2f} x naive")
    medians["cosine"] = least_cosine(found["naive"], found["ours"])
    tell(f"  least cosine of ours with the naive features: {medians['cosine']:.6f}")
    return medians


def least_cosine(a: Features, b: Features) -> float:
    def unit(rows: np.ndarray) -> np.ndarray:
        rows = rows.astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return float(min((unit(a[task]) * unit(b[task])).sum(axis=1).min() for task in a))


def embedded_many(folder: str, times: int) -> None:
    """The asset's stream over many photos, for its memory: nothing is kept of a batch."""
    keep_freed_memory()
    recipe = demo().backbone
    paths = sorted(Path(folder).glob("*.jpg")) * times
    extractors = load_extractors({task: task for task in TASKS}, recipe, Artefacts(Path(folder).parent / "nets"))
    for _ in embedded(in_batches(paths), extractors):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--full", action="store_true", help="96 photos of 600 px, 768 for the small nets")
    arguments = parser.parse_args()
    count = 96 if arguments.full else arguments.photos
    large = replace(paper().backbone, start="random")
    shared = replace(small().backbone, start="random", photo_px=large.photo_px)
    ways = {"naive": (naive, False), "ours": (ours, True), "forward": (forward, True)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / "photos" / photo for photo in draw_photos(folder / "photos", count, 600)]
        tell(f"ResNet-50, {large.photo_px} px, {count} photos, four tasks")
        of_large = compared(ways, paths, large, folder / "large")
        tell("the same with a trunk that the tasks share")
        of_shared = compared(ways, paths, shared, folder / "shared")
        tell(f"the demo recipe's nets, {demo().backbone.photo_px} px")
        thumbnails = [folder / "thumbnails" / p for p in draw_photos(folder / "thumbnails", 8 * count, 160)]
        of_demo = compared(ways, thumbnails, demo().backbone, folder / "nets")
        peaks = [peak_mib(partial(embedded_many), str(folder / "thumbnails"), times) for times in (1, 5)]
        tell(f"peak memory {peaks[0]:.0f} MiB, on five times the photos {peaks[1]:.0f} MiB")
    report(
        photos=count,
        seconds={"resnet50": of_large, "shared_trunk": of_shared, "demo": of_demo},
        embedding_speedup=of_large["naive"] / of_large["ours"],
        cosine=of_large["cosine"],
        forward_fraction=of_large["forward"] / of_large["ours"],
        shared_trunk_speedup=of_shared["naive"] / of_shared["ours"],
        demo_speedup=of_demo["naive"] / of_demo["ours"],
        demo_forward_fraction=of_demo["forward"] / of_demo["ours"],
        peak_mib=peaks,
    )


if __name__ == "__main__":
    main()
