"""Photos to features: one decode and one pass of the shared trunk for all tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import fx, nn
from torch.fx.experimental.optimization import fuse

from vps_ml.backbones.networks import accelerator, autocast, halves, load_state, normalised, placed, resnet
from vps_ml.photos.decoding import in_batches, photo_batches
from vps_ml.recipes import BackboneRecipe

STATE = "state.safetensors"


@dataclass(frozen=True)
class FeatureExtractors:
    """The tasks' networks without their heads, sharing the frozen trunk."""

    trunk: nn.Module
    stages: dict[str, nn.Module]
    photo_px: int


def load_extractors(backbones: dict[str, Path], recipe: BackboneRecipe) -> FeatureExtractors:
    """Load the networks of `backbones` (task to artefact folder).

    Where stages are frozen they are equal in all tasks, so any task's trunk is everybody's.
    """
    trunk = nn.Sequential()
    stages: dict[str, nn.Module] = {}
    for task, folder in backbones.items():
        network = resnet(recipe.architecture, "random", 0)
        load_state(network, folder / STATE)
        trunk, stage = halves(network, recipe.frozen_stages)
        stages[task] = fused(stage)
    return FeatureExtractors(fused(trunk), stages, recipe.photo_px)


def fused(network: nn.Sequential) -> nn.Module:
    """The network for inference: each batch normalisation folded into the convolution before it, on the device.

    The same function but for rounding, in half the time of the eager network on a CPU (benchmarks/embedding.py).
    """
    network.eval()
    return placed(fuse(fx.symbolic_trace(network)) if len(network) else network, accelerator())


def embedded(
    batches: Sequence[Sequence[Path]], extractors: FeatureExtractors
) -> Iterator[tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]]:
    """Batches of each task's second-last-layer features, in half precision, with the photos' quality, in order."""
    device = next(next(iter(extractors.stages.values())).parameters()).device
    for photos, quality in photo_batches(batches, extractors.photo_px):
        with torch.inference_mode(), autocast(device):
            shared = extractors.trunk(normalised(torch.from_numpy(photos).to(device)))
            features = {task: stage(shared).half().cpu().numpy() for task, stage in extractors.stages.items()}
        yield features, quality


def embed(
    paths: Sequence[Path], extractors: FeatureExtractors
) -> tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]:
    """All photos' features and quality at once."""
    return joined(list(embedded(in_batches(paths), extractors)))


def joined(
    batches: Sequence[tuple[dict[str, np.ndarray], np.ndarray]],
) -> tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]:
    """The batches as one, of at least one photo."""
    features = {task: np.concatenate([batch[task] for batch, _ in batches]) for task in batches[0][0]}
    return features, np.concatenate([quality for _, quality in batches])
