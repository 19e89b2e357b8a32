from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from vps_ml.backbones import networks
from vps_ml.backbones.networks import autocast, halves, normalised, resnet


@pytest.mark.parametrize("frozen_stages", [0, 2, 4])
def test_trunk_and_stage_together_are_the_network_without_its_head(frozen_stages: int) -> None:
    network = resnet("resnet10", "random", 0).eval()
    trunk, stage = halves(network, frozen_stages)
    photos = torch.randn(2, 3, 32, 32)
    features = stage(trunk(photos))
    assert features.shape == (2, 512)
    assert torch.allclose(network.fc(features), network(photos), atol=1e-6)


@pytest.mark.parametrize("has_it", [True, False])
@pytest.mark.parametrize("start", ["random", "imagenet", "weights.safetensors"])
def test_what_is_tuned_is_tuned_in_bf16_on_a_cpu_that_multiplies_it_and_nothing_else_is(
    start: str, has_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert networks.multiplies_bf16() in (True, False)
    monkeypatch.setattr(networks, "multiplies_bf16", lambda: has_it)
    a = torch.ones(2, 2)
    with autocast(a.device, start):
        assert (a @ a).dtype == (torch.bfloat16 if has_it and start != "random" else torch.float32)
    with autocast(a.device):  # embeddings
        assert (a @ a).dtype == torch.float32


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


def test_weights_that_cannot_be_downloaded_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    with pytest.raises(ValueError, match=r"resnet50-.*\.pth cannot be downloaded .*VPS_WEIGHTS") as raised:
        resnet("resnet50", "imagenet", 0)
    assert raised.value.__cause__ is None  # the first cause is what a run's failure shows
