from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scenario import photo

from vps_ml.backbones.embedding import embed, load_extractors
from vps_ml.backbones.networks import halves, normalised, resnet
from vps_ml.backbones.training import labelled, photo_source, task_loss, train_backbone
from vps_ml.checkpoints import Checkpoint
from vps_ml.photos.decoding import decoded
from vps_ml.recipes import BackboneRecipe, demo, recipe_named

TINY = BackboneRecipe(
    architecture="resnet10", photo_px=32, start="random", frozen_stages=0, epochs=4, batch_size=8,
    learning_rate=2e-3, weight_decay=0.01,
)  # fmt: skip


def quiet(message: str) -> None:
    """No log."""


@pytest.mark.parametrize("frozen_stages", [0, 2, 4])
def test_trunk_and_stage_together_are_the_network_without_its_head(frozen_stages: int) -> None:
    network = resnet("resnet10", "random", 0).eval()
    trunk, stage = halves(network, frozen_stages)
    photos = torch.randn(2, 3, 32, 32)
    features = stage(trunk(photos))
    assert features.shape == (2, 512)
    assert torch.allclose(network.fc(features), network(photos), atol=1e-6)


def test_pixels_are_normalised_as_imagenet() -> None:
    grey = torch.full((1, 3, 2, 2), 128, dtype=torch.uint8)
    assert normalised(grey)[0, 0, 0, 0].item() == pytest.approx((128 / 255 - 0.485) / 0.229, abs=1e-6)


def test_a_state_file_is_the_start_of_all_but_the_head(tmp_path: Path) -> None:
    other = resnet("resnet10", "random", 1)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in other.state_dict().items()}, tmp_path / "s")
    started = resnet("resnet10", str(tmp_path / "s"), 0)
    assert torch.allclose(started.conv1.weight, other.conv1.weight, atol=1e-3)
    assert not torch.allclose(started.fc.weight, other.fc.weight, atol=1e-3)


def test_a_state_that_does_not_fit_is_refused_with_the_names_that_differ(tmp_path: Path) -> None:
    save_file(resnet("resnet18", "random", 0).state_dict(), tmp_path / "s")
    with pytest.raises(ValueError, match=r"layer1\.1\.bn1\.bias"):
        resnet("resnet10", str(tmp_path / "s"), 0)


def test_a_missing_state_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="VPS_WEIGHTS"):
        resnet("resnet10", str(tmp_path / "nowhere"), 0)


def test_missing_labels_are_masked_and_rare_ones_dropped() -> None:
    targets = labelled("brand", ["a"] * 5 + ["b"] * 5 + [None, "rare"])
    assert targets.names == ("a", "b")
    assert targets.known.tolist() == [True] * 10 + [False, False]


def test_several_labels_become_zeros_and_ones() -> None:
    targets = labelled("attribute", [["x", "y"]] * 5 + [["x"], [], None])
    assert targets.values[[0, 5]].tolist() == [[1, 1], [1, 0]]
    assert targets.known.tolist() == [True] * 6 + [False, False]


def test_prices_are_standardised_and_open_listings_masked() -> None:
    targets = labelled("price", [1.0, 3.0, None])
    assert targets.values[:, 0].tolist() == [-1.0, 1.0, 0.0]
    assert targets.known.tolist() == [True, True, False]


def test_the_multi_label_loss_is_summed_over_labels_and_averaged_over_photos() -> None:
    loss = task_loss("attribute", torch.zeros(2, 3), torch.ones(2, 3))
    assert loss.item() == pytest.approx(3 * np.log(2), rel=1e-6)


def coloured(folder: Path, count: int) -> tuple[list[Path], list[str]]:
    """Photos whose label is their colour: a task that a few epochs learn."""
    from PIL import Image

    paths, labels = [], []
    for i in range(count):
        colour = ("red", "blue")[i % 2]
        image = Image.new("RGB", (40, 40), colour)
        image.paste((i % 250, i % 250, i % 250), (0, 0, 10, 10))
        image.save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
        labels.append(colour)
    return paths, labels


def test_training_learns_colour_and_is_repeatable(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 80)
    source = photo_source(paths, TINY, 0, quiet)
    first, second = (train_backbone("category", source, labels, TINY, 0, quiet) for _ in range(2))
    assert first.validation_score == 1.0
    assert first.loss_by_epoch[-1] < 0.3 * first.loss_by_epoch[0]
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def test_training_that_goes_on_from_its_checkpoint_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, labels = coloured(tmp_path, 40)
    recipe = BackboneRecipe(**{**vars(TINY), "epochs": 4})
    source = photo_source(paths, recipe, 0, quiet)
    unbroken = train_backbone("category", source, labels, recipe, 0, quiet)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)

    class Killed(Exception):
        """The run was broken off here."""

    told: list[str] = []

    def log(message: str) -> None:
        told.append(message)
        if "epoch 3 of 4" in message and len(told) == 3:
            raise Killed

    kept = Checkpoint(tmp_path / "kept" / "backbone.pt")
    with pytest.raises(Killed):
        train_backbone("category", source, labels, recipe, 0, log, kept)
    torch.manual_seed(99)  # another process
    resumed = train_backbone("category", source, labels, recipe, 0, log, kept)
    assert [message.split(",")[0] for message in told[3:]] == ["category: epoch 3 of 4", "category: epoch 4 of 4"]
    assert resumed.loss_by_epoch == unbroken.loss_by_epoch
    assert all(torch.equal(resumed.state[name], unbroken.state[name]) for name in unbroken.state)


def test_a_frozen_trunk_stays_as_it_started(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 30)
    recipe = BackboneRecipe(**{**vars(TINY), "frozen_stages": 4, "epochs": 1})
    trained = train_backbone("category", photo_source(paths, recipe, 0, quiet), labels, recipe, 0, quiet)
    start = resnet("resnet10", "random", 0).state_dict()
    assert torch.equal(trained.state["layer3.0.conv1.weight"], start["layer3.0.conv1.weight"])
    assert torch.equal(trained.state["layer3.0.bn1.running_mean"], start["layer3.0.bn1.running_mean"])
    assert not torch.equal(trained.state["layer4.0.conv1.weight"], start["layer4.0.conv1.weight"])


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 30)
    wild = BackboneRecipe(**{**vars(TINY), "learning_rate": 1e30})
    with pytest.raises(FloatingPointError, match=r"epoch \d+, rate"):
        train_backbone("category", photo_source(paths, wild, 0, quiet), labels, wild, 0, quiet)


def test_embedding_gives_each_tasks_second_last_layer(tmp_path: Path) -> None:
    folders = {}
    for i, task in enumerate(("category", "price")):
        folders[task] = tmp_path / task
        folders[task].mkdir()
        save_file(resnet("resnet10", "random", i).state_dict(), folders[task] / "state.safetensors")
    paths = [photo(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    features, quality = embed(paths, load_extractors(folders, TINY))
    network = resnet("resnet10", "random", 1).eval()
    network.fc = torch.nn.Identity()
    pixels = torch.stack([torch.from_numpy(decoded(path, 32)[0]) for path in paths])
    with torch.inference_mode():
        expected = network(normalised(pixels)).half().numpy()
    assert features["price"].dtype == np.float16
    assert np.allclose(features["price"], expected, atol=2e-3)
    assert quality.shape == (3, 4)


def test_the_demo_recipe_never_downloads() -> None:
    assert demo().backbone.start == "random"


def test_the_paper_recipe_starts_and_trains_a_first_epoch_with_little_data(tmp_path: Path) -> None:
    """The configuration is the paper's own: ResNet-50, 224 px, batch 256; only the photos are few."""
    start = tmp_path / "imagenet.safetensors"
    save_file(resnet("resnet50", "random", 0).state_dict(), start)
    recipe = recipe_named("paper", str(start)).backbone
    paths, labels = coloured(tmp_path, 12)
    epochs: list[str] = []

    class EnoughSeen(Exception):
        """Two epochs have been trained."""

    def log(message: str) -> None:
        if "epoch" in message:
            epochs.append(message)
            if len(epochs) == 2:
                raise EnoughSeen

    with pytest.raises(EnoughSeen):
        train_backbone("category", photo_source(paths, recipe, 0, quiet), labels, recipe, 0, log)
    assert "epoch 2 of 30" in epochs[-1]
