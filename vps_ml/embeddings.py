"""Photos to features: one decode and one pass of the shared trunk for all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import nn

from vps_ml.backbones import accelerator, autocast, halves, load_state, normalised, placed, resnet
from vps_ml.photos import photo_batches
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
    device = accelerator()
    trunk: nn.Module = nn.Identity()
    stages: dict[str, nn.Module] = {}
    for task, folder in backbones.items():
        network = resnet(recipe.architecture, "random", 0)
        load_state(network, folder / STATE)
        trunk, stage = halves(network, recipe.frozen_stages)
        stages[task] = placed(stage.eval(), device)
    return FeatureExtractors(placed(trunk.eval(), device), stages, recipe.photo_px)


@torch.inference_mode()
def embed(
    paths: Sequence[Path], extractors: FeatureExtractors
) -> tuple[dict[str, Float16[np.ndarray, "photo feature"]], Float[np.ndarray, "photo 4"]]:
    """Each task's second-last-layer features of the photos, in half precision, and the photos' quality."""
    device = next(iter(next(iter(extractors.stages.values())).parameters())).device
    features: dict[str, list[np.ndarray]] = {task: [] for task in extractors.stages}
    qualities = [np.empty((0, 4))]
    for photos, quality in photo_batches(paths, extractors.photo_px, 64):
        with autocast(device):
            shared = extractors.trunk(normalised(torch.from_numpy(photos).to(device)))
            for task, stage in extractors.stages.items():
                features[task].append(stage(shared).half().cpu().numpy())
        qualities.append(quality)
    return {task: np.concatenate(rows) for task, rows in features.items()}, np.concatenate(qualities)
