from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from worlds import TINY, Killed, coloured, quiet

from vps_ml.backbones import networks
from vps_ml.backbones.networks import resnet
from vps_ml.backbones.training import photo_source, train_backbone
from vps_ml.checkpoints import Checkpoint
from vps_ml.recipes import BackboneRecipe
from vps_ml.training_loop import Session


def test_training_learns_colour_and_is_repeatable(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 80)
    source = photo_source(paths, TINY, 0, quiet)
    first, second = (train_backbone("category", source, labels, TINY, 0, Session(quiet)) for _ in range(2))
    assert first.validation_score == 1.0
    assert first.loss_by_epoch[-1] < 0.3 * first.loss_by_epoch[0]
    assert all(np.array_equal(first.state[name], second.state[name]) for name in first.state)


def test_training_that_goes_on_from_its_checkpoint_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, labels = coloured(tmp_path, 40)
    recipe = BackboneRecipe(**{**vars(TINY), "epochs": 4})
    source = photo_source(paths, recipe, 0, quiet)
    unbroken = train_backbone("category", source, labels, recipe, 0, Session(quiet))
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    messages: list[str] = []

    def log(message: str) -> None:
        messages.append(message)
        if "epoch 3 of 4" in message and len(messages) == 3:
            raise Killed

    session = Session(log, tmp_path / "kept", log_every_s=0.0)
    with pytest.raises(Killed):
        train_backbone("category", source, labels, recipe, 0, session)
    torch.manual_seed(99)  # another process
    resumed = train_backbone("category", source, labels, recipe, 0, session)
    assert [message.split(",")[0] for message in messages[3:]] == ["category: epoch 3 of 4", "category: epoch 4 of 4"]
    assert resumed.loss_by_epoch == unbroken.loss_by_epoch
    assert all(np.array_equal(resumed.state[name], unbroken.state[name]) for name in unbroken.state)


def test_a_frozen_trunk_stays_as_it_started(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 30)
    recipe = BackboneRecipe(**{**vars(TINY), "frozen_stages": 4, "epochs": 1})
    trained = train_backbone("category", photo_source(paths, recipe, 0, quiet), labels, recipe, 0, Session(quiet))
    start = {name: value.numpy() for name, value in resnet("resnet10", "random", 0).state_dict().items()}
    assert np.array_equal(trained.state["layer3.0.conv1.weight"], start["layer3.0.conv1.weight"])
    assert np.array_equal(trained.state["layer3.0.bn1.running_mean"], start["layer3.0.bn1.running_mean"])
    assert not np.array_equal(trained.state["layer4.0.conv1.weight"], start["layer4.0.conv1.weight"])


def test_a_backbone_is_tuned_in_the_precision_of_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bf16 the weights end elsewhere, by more than by rounding of single precision and less than by a mistake."""
    paths, labels = coloured(tmp_path, 30)
    save_file(resnet("resnet10", "random", 0).state_dict(), start := tmp_path / "start.safetensors")
    recipe = BackboneRecipe(**{**vars(TINY), "start": str(start), "epochs": 1})
    source, ended = photo_source(paths, recipe, 0, quiet), {}
    for has_it in (True, False):
        monkeypatch.setattr(networks, "multiplies_bf16", lambda has_it=has_it: has_it)
        ended[has_it] = train_backbone("category", source, labels, recipe, 0, Session(quiet)).state[
            "layer4.0.conv1.weight"
        ]
    moved = np.abs(ended[True] - ended[False]).mean()
    assert 1e-6 < moved < 0.2 * np.abs(ended[False]).mean()


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 30)
    wild = BackboneRecipe(**{**vars(TINY), "learning_rate": 1e30})
    message = r"category: the loss is (nan|inf) in epoch \d+ at learning rate \d"
    with pytest.raises(FloatingPointError, match=message):
        train_backbone("category", photo_source(paths, wild, 0, quiet), labels, wild, 0, Session(quiet))
