"""Training one task's backbone: labels to targets, and one straight loop.

Axes: N photo, B batch, L label.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from vps_ml.backbones.networks import accelerator, augmented, autocast, halves, normalised, placed, resnet
from vps_ml.checkpoints import Checkpoint, Stateful
from vps_ml.photos.decoding import BATCH_PHOTOS, decoded, in_batches, photo_batches
from vps_ml.recipes import BackboneRecipe

SINGLE_LABEL = ("category", "brand")
MULTI_LABEL = ("attribute", "specification")
RAREST_LABEL = 5
"""A label on fewer training photos than this teaches nothing and is not a target."""
HELD_IN_MEMORY_BYTES = 2 << 30

Log = Callable[[str], None]


@dataclass(frozen=True)
class Targets:
    """One task's labels as numbers, rows without the label masked."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "photo label"]
    """Single label: one column, the label's number. Multi label: 0 or 1. Price: one column, standardised."""
    known: np.ndarray
    """True where the photo has the label: the others are left out of the loss, not given a fake class."""
    centre: float = 0.0
    scale: float = 1.0


def labelled(task: str, labels: Sequence) -> Targets:
    """Targets of a task from its raw labels: text, lists of text, or log prices; None where missing."""
    if task == "price":
        prices = np.array([np.nan if v is None else v for v in labels], dtype=np.float64)
        known = np.isfinite(prices)
        centre, scale = (prices[known].mean(), prices[known].std()) if known.any() else (0.0, 1.0)
        values = np.where(known, (prices - centre) / max(scale, 1e-9), 0.0)[:, None]
        return Targets(("log_price",), values, known, float(centre), float(scale))
    listed = [[] if v is None else [v] if isinstance(v, str) else list(v) for v in labels]
    counts = Counter(label for row in listed for label in set(row))
    names = tuple(sorted(label for label, count in counts.items() if count >= RAREST_LABEL))
    number = {label: i for i, label in enumerate(names)}
    kept = [[number[label] for label in row if label in number] for row in listed]
    known = np.array([bool(row) for row in kept], dtype=bool)
    if task in SINGLE_LABEL:
        return Targets(names, np.array([[row[0] if row else 0] for row in kept], dtype=np.float64), known)
    values = np.zeros((len(kept), len(names)))
    for row, indices in zip(values, kept, strict=True):
        row[indices] = 1
    return Targets(names, values, known)


def task_loss(task: str, output: Float[Tensor, "B L"], target: Float[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Cross-entropy for a single label, the sum of binary ones for several, squared error for the price."""
    if task in SINGLE_LABEL:
        return cross_entropy(output, target[:, 0].long())
    if task in MULTI_LABEL:
        return binary_cross_entropy_with_logits(output, target, reduction="sum") / output.shape[0]
    return mse_loss(output, target)


@dataclass
class PhotoSource:
    """The trunk's view of the photos, held in memory where it fits, else decoded for each batch."""

    paths: Sequence[Path]
    photo_px: int
    held: Tensor | None = None

    def batch(self, rows: np.ndarray) -> Tensor:
        """What the stage takes for these rows: pixels, or the frozen trunk's output."""
        if self.held is not None:
            return self.held[torch.from_numpy(rows)]
        with ThreadPoolExecutor(4) as pool:
            photos = list(pool.map(lambda row: decoded(self.paths[row], self.photo_px)[0], rows))
        return torch.from_numpy(np.stack(photos))


def photo_source(paths: Sequence[Path], recipe: BackboneRecipe, seed: int, log: Log) -> PhotoSource:
    """Decode every photo once for all tasks, through the frozen trunk where the recipe has one."""
    pixels = len(paths) * 3 * recipe.photo_px**2
    if not recipe.frozen_stages and pixels > HELD_IN_MEMORY_BYTES:
        return PhotoSource(paths, recipe.photo_px)
    device = accelerator()
    trunk = halves(resnet(recipe.architecture, recipe.start, seed), recipe.frozen_stages)[0] if paths else None
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


@torch.inference_mode()
def through_trunk(trunk: nn.Module, photos: Tensor, device: torch.device) -> Tensor:
    """Half-precision output of the frozen trunk for a batch of photos."""
    trunk = placed(trunk.eval(), device)
    with autocast(device):
        return trunk(normalised(photos.to(device))).half().cpu()


@dataclass(frozen=True)
class TrainedBackbone:
    """A trained network, its labels, and how training went."""

    state: dict[str, Tensor]
    labels: tuple[str, ...]
    centre: float
    scale: float
    loss_by_epoch: list[float]
    validation_score: float
    """Top-1 accuracy (single label), mean recall of the k true labels in the top k (multi), 1 - error (price)."""
    photos: int


def train_backbone(
    task: str,
    source: PhotoSource,
    labels: Sequence,
    recipe: BackboneRecipe,
    seed: int,
    log: Log,
    checkpoint: Checkpoint | None = None,
) -> TrainedBackbone:
    """Train one task's network from its start, or from its checkpoint, on the photos that have the label.

    A tenth of the photos, the last of a seeded shuffle, is held out for the score alone.

    Raises:
        FloatingPointError: the loss is not finite; the message has the epoch and the learning rate.
    """
    targets = labelled(task, labels)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(targets.known))
    held_out, rows = rows[: len(rows) // 10], rows[len(rows) // 10 :]
    device = accelerator()
    network = resnet(recipe.architecture, recipe.start, seed)
    network.fc = nn.Linear(network.fc.in_features, len(targets.names))
    _, stage = halves(network, recipe.frozen_stages)
    model = placed(nn.Sequential(stage, network.fc), device)
    values = torch.from_numpy(targets.values).float()
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    batches = max(1, len(rows) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    resumed = checkpoint.resume(parts, generator) if checkpoint else None
    loss_by_epoch: list[float] = resumed["loss_by_epoch"] if resumed else []
    for epoch in range(len(loss_by_epoch), recipe.epochs):
        model.train()
        total = 0.0
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        for batch in np.array_split(order, batches):
            # What a frozen trunk saw is moved like a photo: without it the stage learns its photos by heart.
            inputs = augmented(stage_inputs(source.batch(batch), recipe, device), generator)
            with autocast(device):
                loss = task_loss(task, model(inputs), values[batch].to(device))
            if not torch.isfinite(loss):
                rate = schedule.get_last_lr()[0]
                raise FloatingPointError(f"{task}: loss {loss.item()} in epoch {epoch + 1}, rate {rate:.2g}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / batches
        loss_by_epoch.append(total)
        log(f"{task}: epoch {epoch + 1} of {recipe.epochs}, loss {total:.4f}, {len(rows):,} photos")
        if checkpoint and checkpoint.due():
            checkpoint.keep(parts, generator, {"loss_by_epoch": loss_by_epoch})
    score = validation_score(task, model, source, held_out, targets, recipe, device)
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return TrainedBackbone(state, targets.names, targets.centre, targets.scale, loss_by_epoch, score, len(rows))


def stage_inputs(batch: Tensor, recipe: BackboneRecipe, device: torch.device) -> Tensor:
    """What the trainable stage sees: normalised pixels, or the frozen trunk's output in full precision."""
    batch = batch.to(device)
    return batch.float() if recipe.frozen_stages else normalised(batch)


@torch.inference_mode()
def validation_score(
    task: str,
    model: nn.Module,
    source: PhotoSource,
    rows: np.ndarray,
    targets: Targets,
    recipe: BackboneRecipe,
    device: torch.device,
) -> float:
    """How well the held-out photos' labels are found, 0 to 1 (see `TrainedBackbone.validation_score`)."""
    if not len(rows):
        return float("nan")
    model.eval()
    chunks = np.array_split(rows, max(1, len(rows) // 64))
    output = torch.cat([model(stage_inputs(source.batch(c), recipe, device)).float().cpu() for c in chunks])
    target = torch.from_numpy(targets.values[rows]).float()
    if task in SINGLE_LABEL:
        return float((output.argmax(1) == target[:, 0]).float().mean())
    if task in MULTI_LABEL:
        recalls = [float(t[o.topk(int(t.sum())).indices].mean()) for o, t in zip(output, target, strict=True)]
        return float(np.mean(recalls))
    return 1 - float((output - target).abs().mean())
