"""Training one task's backbone on its photos.

Axes: N photo, L label.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vps_ml.backbones.embedding import fused
from vps_ml.backbones.labels import learning_of
from vps_ml.backbones.networks import accelerator, augmented, autocast, halves, normalised, placed, resnet
from vps_ml.data_parallel import ALONE, Rank, in_ranks, synchronised
from vps_ml.photos.batches import BATCH_PHOTOS, in_batches, photo_batches
from vps_ml.photos.decoding import decoded
from vps_ml.recipes import BackboneRecipe
from vps_ml.training_loop import Loop, Phase, Session, optimise, weights

HELD_IN_MEMORY_BYTES = 2 << 30
SCORED_AT_ONCE = 64


@dataclass
class PhotoSource:
    """What the trainable stage takes, held in memory if it fits, else decoded for each batch."""

    paths: Sequence[Path]
    photo_px: int
    held: Tensor | None = None

    def batch(self, rows: np.ndarray) -> Tensor:
        """Pixels, or the frozen trunk's output, of these rows."""
        if self.held is not None:
            return self.held[torch.from_numpy(rows).to(self.held.device)]
        with ThreadPoolExecutor(4) as pool:
            photos = list(pool.map(lambda row: decoded(self.paths[row], self.photo_px)[0], rows))
        return torch.from_numpy(np.stack(photos))


def photo_source(paths: Sequence[Path], recipe: BackboneRecipe, seed: int, log: Callable[[str], None]) -> PhotoSource:
    """Decode every photo once for all tasks, and send it through the frozen trunk if the recipe has one."""
    pixels = len(paths) * 3 * recipe.photo_px**2
    if not recipe.frozen_stages and pixels > HELD_IN_MEMORY_BYTES:
        return PhotoSource(paths, recipe.photo_px)
    device = accelerator()
    trunk = fused(halves(resnet(recipe.architecture, recipe.start, seed), recipe.frozen_stages)[0]) if paths else None
    held = []
    for i, (photos, _) in enumerate(photo_batches(in_batches(paths), recipe.photo_px)):
        batch = torch.from_numpy(photos)
        if recipe.frozen_stages and trunk is not None:
            batch = through_trunk(trunk, batch, device)
        held.append(batch)
        if i % 16 == 15:
            log(f"{(i + 1) * BATCH_PHOTOS:,} of {len(paths):,} photos decoded")
    empty = torch.zeros((0, 3, recipe.photo_px, recipe.photo_px), dtype=torch.uint8)
    return PhotoSource(paths, recipe.photo_px, torch.cat(held) if held else empty)


def near(source: PhotoSource, device: torch.device) -> PhotoSource:
    """What is learnt from, on the device if half of its free memory holds it: each batch would be copied there."""
    held = source.held
    if held is None or device.type != "cuda" or 2 * held.nbytes > torch.cuda.mem_get_info(device)[0]:
        return source
    return replace(source, held=held.to(device))


@torch.inference_mode()
def through_trunk(trunk: nn.Module, photos: Tensor, device: torch.device) -> Tensor:
    """Half-precision output of the frozen trunk for a batch of photos."""
    with autocast(device):
        return trunk(normalised(photos.to(device))).half().cpu()


@dataclass(frozen=True)
class TrainedBackbone:
    """A trained network's state, its labels, and how training went."""

    state: dict[str, np.ndarray]
    labels: tuple[str, ...]
    centre: float
    scale: float
    loss_by_epoch: list[float]
    validation_score: float
    """Of held-out photos, 0 to 1 (`Learning.score`); NaN without any."""
    photos: int


LEAST_SHARE = 8
"""Photos of a batch that each process has at least, where several train."""


def ranks_worth(most: int, task: str, labels: Sequence, recipe: BackboneRecipe) -> int:
    """How many processes, at most so many, have `LEAST_SHARE` photos each of every batch; at least one."""
    learnt_from = 9 * int(learning_of(task).targets(labels).present.sum()) // 10
    return max(1, min(most, min(recipe.batch_size, learnt_from) // LEAST_SHARE))


def train_in_ranks(
    most: int, task: str, source: PhotoSource, labels: Sequence, recipe: BackboneRecipe, seed: int, session: Session
) -> TrainedBackbone:
    """`train_backbone` in up to `most` processes of this host, an accelerator each.

    Raises:
        ValueError: see `train_backbone`.
        FloatingPointError: see `train_backbone`.
    """
    if (count := ranks_worth(most, task, labels, recipe)) == 1:
        return train_backbone(task, source, labels, recipe, seed, session)
    if session.folder is not None:
        session.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=session.folder) as folder:
        file = None
        if source.held is not None:
            file = Path(folder) / "held.npy"
            np.save(file, source.held.numpy())
        arguments = (task, replace(source, held=None), file, labels, recipe, seed, session.folder, session.log_every_s)
        return in_ranks(train_as_rank, arguments, count, session.log)


def train_as_rank(
    rank: Rank,
    log: Callable[[str], None],
    task: str,
    source: PhotoSource,
    held: Path | None,
    labels: Sequence,
    recipe: BackboneRecipe,
    seed: int,
    folder: Path | None,
    log_every_s: float,
) -> TrainedBackbone:
    """`train_backbone` as one of several processes; what they all learn from is read from a file as it is needed."""
    if held is not None:  # "c": PyTorch warns of an array that cannot be written
        source = replace(source, held=torch.from_numpy(np.load(held, mmap_mode="c")))
    return train_backbone(task, source, labels, recipe, seed, Session(log, folder, log_every_s), rank)


def train_backbone(
    task: str,
    source: PhotoSource,
    labels: Sequence,
    recipe: BackboneRecipe,
    seed: int,
    session: Session,
    rank: Rank = ALONE,
) -> TrainedBackbone:
    """Train one task's network from its start, or from its checkpoint, on the photos that have the label.

    A tenth of the photos, the first of a seeded shuffle, is held out for the score alone.

    Raises:
        ValueError: no task has this name.
        FloatingPointError: the loss is not finite; the message has the epoch and the learning rate.
    """
    learning = learning_of(task)
    targets = learning.targets(labels)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(targets.present))
    held_out, rows = rows[: len(rows) // 10], rows[len(rows) // 10 :]
    device = accelerator()
    source = near(source, device)
    network = resnet(recipe.architecture, recipe.start, seed)
    network.fc = nn.Linear(network.fc.in_features, len(targets.names))
    if rank.of > 1:
        synchronised(network, device)
    _, stage = halves(network, recipe.frozen_stages)
    model = placed(nn.Sequential(stage, network.fc), device)
    shared = rank.shared(model)
    values = torch.from_numpy(targets.values).to(torch.get_default_dtype())
    generator = torch.Generator().manual_seed(seed)

    def loss(numbers: Tensor, phase: Phase) -> Tensor:
        share = rank.share(len(numbers))
        batch = rows[numbers.numpy()][share]
        # The output of a frozen trunk is moved like a photo: otherwise the stage memorises its photos.
        inputs = augmented(stage_inputs(source.batch(batch), recipe, device), generator, len(numbers), share)
        with autocast(device, recipe.start):
            return rank.weighted(learning.loss(shared(inputs), values[batch].to(device)), len(numbers))

    batches = max(1, len(rows) // recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    loop = Loop(
        name=task,
        networks={"model": model},
        optimizer=optimizer,
        phases=(Phase(recipe.epochs, recipe.learning_rate),),
        rows=len(rows),
        batches_per_epoch=batches,
        loss=loss,
        generator=generator,
        rank=rank,
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.epochs * batches),
    )
    loss_by_epoch = optimise(loop, session)
    score = float("nan")
    if len(held_out):
        output = outputs_of(model, source, held_out, recipe, device)
        score = learning.score(output, torch.from_numpy(targets.values[held_out]).float())
    state = weights(network)
    return TrainedBackbone(state, targets.names, targets.centre, targets.scale, loss_by_epoch, score, len(rows))


def stage_inputs(batch: Tensor, recipe: BackboneRecipe, device: torch.device) -> Tensor:
    """What the trainable stage takes: normalised pixels, or the frozen trunk's output in full precision."""
    batch = batch.to(device)
    return batch.to(torch.get_default_dtype()) if recipe.frozen_stages else normalised(batch)


@torch.inference_mode()
def outputs_of(
    model: nn.Module, source: PhotoSource, rows: np.ndarray, recipe: BackboneRecipe, device: torch.device
) -> Float[Tensor, "N L"]:
    """The model's outputs for these photos, in evaluation mode."""
    model.eval()
    parts = np.array_split(rows, max(1, len(rows) // SCORED_AT_ONCE))
    return torch.cat([model(stage_inputs(source.batch(part), recipe, device)).float().cpu() for part in parts])
