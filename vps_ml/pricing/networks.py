"""What a price model is: f_reg and f_cls, and how they are saved.

Axes: N item, B batch, F feature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vps_ml.backbones.networks import accelerator
from vps_ml.features.matrix import FeatureMatrix, MatrixRows
from vps_ml.pricing.calibration import Judgement


class PriceNetwork(nn.Module):
    """A multilayer perceptron; f_reg and f_cls share this shape, with one output, not the weights (Figure 5)."""

    def __init__(self, features: int, hidden: tuple[int, ...], dropout: float, outputs: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip((features, *hidden), hidden, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, x: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """The first output."""
        return self.layers(x)[:, 0]


def network_for(features: int, start: float, hidden: tuple[int, ...], dropout: float, outputs: int = 1) -> PriceNetwork:
    """A fresh network for so many features, its first output starting near `start`."""
    network = PriceNetwork(features, hidden, dropout, outputs)
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[0] = start
    return network.to(accelerator())


Rows = MatrixRows | np.ndarray
"""Rows of features: of a matrix, or an array of them."""


@torch.inference_mode()
def outputs(network: PriceNetwork, x: Rows) -> Float[np.ndarray, "N O"]:
    """All of a network's outputs for all rows, in double precision."""
    rows = x if isinstance(x, MatrixRows) else FeatureMatrix.of(x).rows(np.arange(len(x)))
    return torch.cat([network.layers(part) for part in rows.parts()]).double().cpu().numpy()


def output(network: PriceNetwork, x: Rows) -> Float[np.ndarray, " N"]:
    """A network's first output for all rows, in double precision."""
    return outputs(network, x)[:, 0]


def mean_output(networks: list[PriceNetwork], x: Rows) -> Float[np.ndarray, " N"]:
    """The mean of the networks' first outputs."""
    return np.mean([output(network, x) for network in networks], axis=0)


@dataclass(frozen=True)
class PricingModel:
    """What prices a listing, before calibration: one or more regressors, a gate, and how far off they expect to be."""

    regressors: list[PriceNetwork]
    gate: PriceNetwork
    scale: PriceNetwork
    """Logarithm of the expected |error|, in ln units, of a regressor on an item that it did not see."""

    def judge(self, x: Rows) -> Judgement:
        """What the networks say of some rows."""
        return Judgement(mean_output(self.regressors, x), output(self.gate, x), np.exp(output(self.scale, x)))


def model_state(model: PricingModel) -> dict[str, Tensor]:
    """All of a model's weights under flat names."""
    regressors = {f"regressor{k}": network for k, network in enumerate(model.regressors)}
    return state_of(regressors | {"gate": model.gate, "scale": model.scale})


def state_of(networks: Mapping[str, PriceNetwork]) -> dict[str, Tensor]:
    """The weights of named networks under flat names."""
    return {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, network in networks.items()
        for name, value in network.state_dict().items()
    }


def networks_of(state: Mapping[str, Tensor]) -> dict[str, PriceNetwork]:
    """The named networks whose `state_of` this is, in the order of their names; widths are read off the weights."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, parameter = name.partition(".")
        parts.setdefault(part, {})[parameter] = value
    return {part: network_from_state(parts[part]) for part in sorted(parts)}


def model_from_state(state: Mapping[str, Tensor]) -> PricingModel:
    """The model whose `model_state` this is."""
    networks = networks_of(state)
    gate, scale = networks.pop("gate"), networks.pop("scale")
    return PricingModel(list(networks.values()), gate, scale)


def network_from_state(weights: dict[str, Tensor]) -> PriceNetwork:
    """A network with these weights, ready to predict."""
    matrices = [value for value in weights.values() if value.ndim == 2]
    network = PriceNetwork(matrices[0].shape[1], tuple(m.shape[0] for m in matrices[:-1]), 0.0, matrices[-1].shape[0])
    network.load_state_dict(weights)
    return network.eval().to(accelerator())
