"""Photos to features: one decode and one pass of the shared trunk for all tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.networks import accelerator, autocast, halves, normalised, placed, with_state
from vps_ml.backbones.resnets import BasicBlock, Bottleneck
from vps_ml.photos.batches import BATCH_PHOTOS, in_batches, photo_batches
from vps_ml.recipes import BackboneRecipe

STATE = "state"
"""Name of a backbone's weights among its artefact's arrays."""
FUSED_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
"""Attributes of torchvision's residual blocks; a basic block has the first two pairs."""


BATCH_ON_ACCELERATOR = 256
"""Photos of a batch there: with fewer it waits for Python, which starts some 250 kernels of four networks a batch."""


@dataclass(frozen=True)
class FeatureExtractors:
    """The tasks' networks without their heads; they share the frozen trunk."""

    trunk: nn.Module
    stages: dict[str, nn.Module]
    photo_px: int


def load_extractors(backbones: dict[str, str], recipe: BackboneRecipe, artefacts: Artefacts) -> FeatureExtractors:
    """Load the networks of `backbones` (task -> backbone id).

    Where stages are frozen they are equal in all tasks, so the trunk of any task serves them all.
    """
    trunk = nn.Sequential()
    stages: dict[str, nn.Module] = {}
    for task, backbone_id in backbones.items():
        state = {name: torch.from_numpy(value) for name, value in artefacts.models.arrays(backbone_id, STATE).items()}
        network = with_state(recipe.architecture, state, f"backbone {backbone_id}")
        trunk, stage = halves(network, recipe.frozen_stages)
        stages[task] = fused(stage)
    return FeatureExtractors(fused(trunk), stages, recipe.photo_px)


def fused(network: nn.Sequential) -> nn.Module:
    """The network for inference, on the device: each batch normalisation is folded into the convolution before it.

    The same function but for rounding, in half the time of the eager network on a CPU (benchmarks/embedding.py). The
    pairs are found by name: tracing with torch.fx would patch `nn.Module.__call__` for every thread of the process.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            for convolution, normalisation in FUSED_PAIRS:
                if hasattr(module, convolution):
                    fuse_pair(module, convolution, normalisation)
        elif isinstance(module, nn.Sequential):  # the stem, and the blocks' downsampling
            names = list(module._modules)
            for first, second in zip(names, names[1:], strict=False):
                if isinstance(getattr(module, second), nn.BatchNorm2d):
                    fuse_pair(module, first, second)
    return placed(network, accelerator())


def fuse_pair(module: nn.Module, convolution: str, normalisation: str) -> None:
    """Replace a convolution and the batch normalisation after it by one convolution."""
    pair = getattr(module, convolution), getattr(module, normalisation)
    setattr(module, convolution, fuse_conv_bn_eval(*pair))
    setattr(module, normalisation, nn.Identity())


def photos_at_once() -> int:
    """How many photos a batch has where nothing is trained."""
    return BATCH_ON_ACCELERATOR if accelerator().type == "cuda" else BATCH_PHOTOS


def embedded(
    batches: Sequence[Sequence[Path]], extractors: FeatureExtractors
) -> Iterator[tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]]:
    """Batches of each task's second-last-layer features, in half precision, with the photos' quality, in order."""
    for photos, quality in photo_batches(batches, extractors.photo_px):
        yield network_features(photos, extractors), quality


def network_features(
    photos: UInt8[np.ndarray, "photo 3 y x"], extractors: FeatureExtractors
) -> dict[str, Float16[np.ndarray, "photo feature"]]:
    """Each task's second-last-layer features of decoded photos, in half precision."""
    device = next(next(iter(extractors.stages.values())).parameters()).device
    with torch.inference_mode(), autocast(device):
        shared = extractors.trunk(normalised(torch.from_numpy(photos).to(device)))
        return {task: stage(shared).half().cpu().numpy() for task, stage in extractors.stages.items()}


def embed(
    paths: Sequence[Path], extractors: FeatureExtractors
) -> tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]:
    """All photos' features and quality at once."""
    return joined(list(embedded(in_batches(paths, photos_at_once()), extractors)))


def joined(
    batches: Sequence[tuple[dict[str, np.ndarray], np.ndarray]],
) -> tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]:
    """The batches as one, of at least one photo."""
    features = {task: np.concatenate([batch[task] for batch, _ in batches]) for task in batches[0][0]}
    return features, np.concatenate([quality for _, quality in batches])
