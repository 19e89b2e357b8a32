"""Photos to features, by networks that are folded for inference."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from scenario import photo
from worlds import TINY

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import STATE, embed, fused, load_extractors
from vps_ml.backbones.networks import halves, normalised, resnet
from vps_ml.cards import Contents
from vps_ml.photos.decoding import decoded
from vps_ml.training_loop import weights


def test_embedding_gives_each_tasks_second_last_layer(tmp_path: Path) -> None:
    artefacts, backbones = Artefacts(tmp_path), {}
    for i, task in enumerate(("category", "price")):
        contents = Contents({}, arrays={STATE: weights(resnet("resnet10", "random", i))})
        backbones[task] = artefacts.models.make(f"backbone of {task}", lambda contents=contents: contents)
    paths = [photo(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    features, quality = embed(paths, load_extractors(backbones, TINY, artefacts))
    network = resnet("resnet10", "random", 1).eval()
    network.fc = torch.nn.Identity()
    pixels = torch.stack([torch.from_numpy(decoded(path, 32)[0]) for path in paths])
    with torch.inference_mode():
        expected = network(normalised(pixels)).half().numpy()
    assert features["price"].dtype == np.float16
    assert np.allclose(features["price"], expected, atol=2e-3)
    assert quality.shape == (3, 4)


@pytest.mark.parametrize("architecture", ["resnet10", "resnet18", "resnet50"])
def test_a_fused_network_has_no_batch_normalisation_left_and_is_the_same_function(architecture: str) -> None:
    network = resnet(architecture, "random", 0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after a training
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
    trunk, stage = halves(network.eval(), 2)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = stage(trunk(pixels))
        found = fused(stage)(fused(trunk)(pixels))
    left = [type(module) for part in (trunk, stage) for module in part.modules()]
    assert torch.nn.BatchNorm2d not in left
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_networks_are_fused_while_another_thread_predicts() -> None:
    """A tracer that patches `nn.Module` for the whole process breaks the thread beside it."""
    network = fused(torch.nn.Sequential(*halves(resnet("resnet10", "random", 0), 0)))
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        expected = network(pixels)
    done, faults, passes = threading.Event(), [], []

    def predict() -> None:
        while not done.is_set():
            try:
                with torch.inference_mode():
                    same = torch.allclose(network(pixels), expected, atol=1e-5)
                passes.append(same)
            except Exception as error:  # whatever it is
                faults.append(error)

    beside = threading.Thread(target=predict)
    beside.start()
    try:
        for seed in range(8):
            fused(torch.nn.Sequential(*halves(resnet("resnet10", "random", seed), 0)))
    finally:
        done.set()
        beside.join()
    assert faults == []
    assert passes
    assert all(passes)
