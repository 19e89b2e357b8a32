"""A network per task: a torchvision ResNet, its features (second-last layer) and its head.

Axes: B batch, C channel, Y X pixels, F feature.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir
from torch.overrides import TorchFunctionMode

from vps_ml.backbones.resnets import BasicBlock, Bottleneck, ResNet, ResNet50_Weights, resnet50

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ARCHITECTURES: Mapping[str, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    "resnet10": (BasicBlock, [1, 1, 1, 1]),
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}
HEAD = ("fc.weight", "fc.bias")


def resnet(architecture: str, start: str, seed: int) -> ResNet:
    """A torchvision ResNet whose head is not yet made, at its start: `imagenet`, `random` or a state file.

    Raises:
        ValueError: the architecture is unknown, or the state file is missing or does not fit.
    """
    torch.manual_seed(seed)
    if start == "imagenet":
        if architecture != "resnet50":
            raise ValueError(f"`imagenet` is a start of resnet50, not of {architecture}")
        return downloaded(ResNet50_Weights.IMAGENET1K_V2)
    network = drawn(architecture)
    if start != "random":
        load_state(network, read_state(Path(start)), Path(start).name)
    return network


def drawn(architecture: str) -> ResNet:
    """A network with weights drawn at random.

    Raises:
        ValueError: the architecture is unknown.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture is called {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    block, layers = ARCHITECTURES[architecture]
    return ResNet(block, layers)


class Undrawn(TorchFunctionMode):
    """Inside, nothing is drawn into tensors: on the device `meta`, where there is nothing to draw into, torch would
    import its compiler to do it, a second of CPU."""

    DRAWS = (Tensor.normal_, Tensor.uniform_)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return args[0] if func in self.DRAWS else func(*args, **(kwargs or {}))


def with_state(architecture: str, state: Mapping[str, Tensor], source: str) -> ResNet:
    """A network that has this state, and a head without values.

    Raises:
        ValueError: the architecture is unknown; or see `load_state`.
    """
    with torch.device("meta"), Undrawn():  # weights that the state replaces take longer to draw than to load
        network = drawn(architecture)
    load_state(network, state, source, assign=True)
    return network


def downloaded(weights: ResNet50_Weights) -> ResNet:
    """A ResNet-50 with torchvision's weights, from its cache or its server.

    Raises:
        ValueError: the server cannot be reached; the message says which file to get instead.
    """
    try:
        return resnet50(weights=weights)
    except OSError as error:  # urllib's, too
        reason = getattr(error, "reason", None) or error
        message = (
            f"{weights.url} cannot be downloaded ({reason}): get it elsewhere and put it into {get_dir()}/checkpoints, "
            "or give VPS_WEIGHTS a safetensors file of a ResNet-50's state"
        )
        raise ValueError(message) from None


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors state file.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"there is no state file {path}: give VPS_WEIGHTS a safetensors file, or unset it")
    return load_file(path)


def load_state(network: nn.Module, state: Mapping[str, Tensor], source: str, assign: bool = False) -> None:
    """Load a state into every layer but the head; with `assign` its tensors become the network's.

    Raises:
        ValueError: names or shapes differ; the message has `source` and the first names that differ.
    """
    own = {name: value for name, value in network.state_dict().items() if name not in HEAD}
    state = {name: value for name, value in state.items() if name not in HEAD}
    differ = sorted(
        name
        for name in own.keys() | state.keys()
        if (name not in own or name not in state or own[name].shape != state[name].shape)
        and not name.endswith("num_batches_tracked")
    )
    if differ:
        shown = ", ".join(differ[:5]) + (f" and {len(differ) - 5} more" if len(differ) > 5 else "")
        raise ValueError(f"{source} does not fit this network: {shown}")
    full = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    network.load_state_dict(full, strict=False, assign=assign)


def halves(network: ResNet, frozen_stages: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a ResNet into its trunk (the first `frozen_stages` of stem and layers 1 to 4) and its feature stage.

    trunk: (B C Y X) pixels -> (B C' Y' X'); stage: what the trunk gives -> (B F).
    """
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = [stem, network.layer1, network.layer2, network.layer3, network.layer4]
    pooled = [network.avgpool, nn.Flatten(1)]
    return nn.Sequential(*stages[:frozen_stages]), nn.Sequential(*stages[frozen_stages:], *pooled)


def normalised(photos: UInt8[Tensor, "B 3 Y X"]) -> Float[Tensor, "B 3 Y X"]:
    """Pixels as the networks see them: ImageNet's mean and standard deviation taken out, channels last."""
    scale = torch.tensor(IMAGENET_STD, device=photos.device).view(1, 3, 1, 1) * 255
    shift = torch.tensor(IMAGENET_MEAN, device=photos.device).view(1, 3, 1, 1) * 255
    return ((photos.to(scale.dtype) - shift) / scale).contiguous(memory_format=torch.channels_last)


def augmented(
    photos: Float[Tensor, "B C Y X"], generator: torch.Generator, batch: int, share: slice
) -> Float[Tensor, "B C Y X"]:
    """Each photo flipped left to right with probability one half, all moved by up to a twelfth of their side.

    The photos are the `share` of a batch of so many, for all of which it is drawn what is done to them.
    """
    flips = (torch.rand(batch, generator=generator) < 0.5)[share]
    photos = torch.where(flips.to(photos.device).view(-1, 1, 1, 1), photos.flip(-1), photos)
    reach = max(1, photos.shape[-1] // 12)
    dy, dx = (int(torch.randint(-reach, reach + 1, (), generator=generator)) for _ in "yx")
    return photos.roll((dy, dx), (-2, -1))


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, in channels-last layout, in which convolutions are faster."""
    return network.to(device).to(memory_format=torch.channels_last)


def accelerators() -> int:
    """How many processes of this host can train at the same time: one per GPU, one where there is none."""
    return torch.cuda.device_count() or 1


def accelerator() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, start: str = "random") -> torch.autocast:
    """bf16 autocast on a GPU; and of what is tuned from another `start` on a CPU that multiplies bf16.

    There a step takes three fifths of the time and prices are as good. Embeddings in it are not (docs/experiments.md).
    """
    tuned = start != "random" and multiplies_bf16()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda" or tuned)


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16; others are slower with it."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
