"""What a price model is made of: f_reg, f_cls and the expected error, and how they are stored.

Axes: N item, B batch, F feature, O output.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vps_ml.backbones.networks import accelerator
from vps_ml.features.matrix import FeatureMatrix, JoinedRows, MatrixRows
from vps_ml.pricing.blends import Beside, Priced
from vps_ml.pricing.calibration import Judgement
from vps_ml.training_loop import weights

DRAWING = Lock()
"""Held while a network is made: its weights are drawn from torch's own generator, which all threads share, even where
others replace them at once."""


class Dropout(nn.Dropout):
    """torch's, but from a generator of its network's own where there is one: so networks can be trained side by side,
    each as if alone."""

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.generator is None or not self.training or not 0 < self.p < 1:
            return super().forward(input)
        # As torch does it on a CPU, whose function takes no generator: the same bits (a test holds it).
        kept = torch.empty_like(input).bernoulli_(1 - self.p, generator=self.generator)
        return input * kept.div_(1 - self.p)


class PriceNetwork(nn.Module):
    """A multilayer perceptron; f_reg and f_cls have this shape, with one output, not these weights (Figure 5)."""

    def __init__(self, features: int, hidden: tuple[int, ...], dropout: float, outputs: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip((features, *hidden), hidden, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, x: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        """The first output."""
        return self.layers(x)[:, 0]


def parameters_of(features: int, hidden: tuple[int, ...], outputs: int = 1) -> int:
    """How many parameters a network of this shape has."""
    widths = (features, *hidden, outputs)
    return sum((width + 1) * after for width, after in itertools.pairwise(widths))


def network_for(features: int, start: float, hidden: tuple[int, ...], dropout: float, outputs: int = 1) -> PriceNetwork:
    """A fresh network for this many features; its first output starts near `start`."""
    network = PriceNetwork(features, hidden, dropout, outputs)
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[0] = start
    return network.to(accelerator())


def own_dropout(*networks: PriceNetwork) -> torch.Generator:
    """What these networks' dropout draws from, from now on: their own generator, which goes on from where torch's is.

    On a GPU torch's own, which a step that is recorded has to draw from.
    """
    if accelerator().type == "cuda":
        return torch.default_generator
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    for network in networks:
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = generator
    return generator


@dataclass(frozen=True)
class Examples:
    """Rows to train on, or to stop by: features and what is predicted from them (a log price, or an error)."""

    x: MatrixRows | JoinedRows
    target: Float[Tensor, "N ..."]

    @classmethod
    def of(cls, x: MatrixRows | JoinedRows, target: np.ndarray) -> "Examples":
        return cls(x, torch.from_numpy(np.asarray(target, dtype=np.float32)).to(x.matrix.visual.device))

    def batch(self, rows: Tensor) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B ..."]]:
        """Features and target of some rows."""
        return self.x.batch(rows), self.target[rows.to(self.target.device)]


Rows = MatrixRows | np.ndarray
"""Rows of features: of a matrix, or an array of them."""


def all_outputs(network: PriceNetwork, x: MatrixRows | JoinedRows) -> Float[Tensor, "N O"]:
    """A network's outputs for all rows, on its device."""
    return torch.cat([network.layers(part) for part in x.parts()])


@torch.inference_mode()
def outputs(network: PriceNetwork, x: Rows) -> Float[np.ndarray, "N O"]:
    """A network's outputs for all rows, in double precision."""
    rows = x if isinstance(x, MatrixRows) else FeatureMatrix.of(x).rows(np.arange(len(x)))
    return all_outputs(network, rows).double().cpu().numpy()


def output(network: PriceNetwork, x: Rows) -> Float[np.ndarray, " N"]:
    """A network's first output for all rows, in double precision."""
    return outputs(network, x)[:, 0]


def mean_output(networks: list[PriceNetwork], x: Rows) -> Float[np.ndarray, " N"]:
    """The mean of the networks' first outputs."""
    return np.mean([output(network, x) for network in networks], axis=0)


@dataclass(frozen=True)
class PricingModel:
    """A price model before calibration: one or more regressors, a gate, and the expected error."""

    regressors: list[PriceNetwork]
    gate: PriceNetwork
    scale: PriceNetwork
    """Predicts the logarithm of the expected |error|, in ln units, of a regressor on an item that it did not see."""
    beside: Beside | None = None
    """The kernel machine and trees beside the networks; None without any."""

    def priced(self, x: Rows) -> Priced:
        """What is predicted for some rows without the gate."""
        own = Priced(mean_output(self.regressors, x), np.exp(output(self.scale, x)))
        return own if self.beside is None else self.beside.blend.priced(x, own)

    def judge(self, x: Rows) -> Judgement:
        """The predictions for some rows."""
        return self.priced(x).judged(output(self.gate, x), self.beside.ranks if self.beside else None)


def judge_gaussians(networks: Sequence[PriceNetwork], x: Rows) -> Judgement:
    """An ensemble's mixture of Gaussians as one Gaussian ("Deep Ensembles", section 2.4)."""
    parameters = np.stack([outputs(network, x) for network in networks])
    mean = parameters[..., 0].mean(axis=0)
    variance = (np.exp(parameters[..., 1]) + parameters[..., 0] ** 2).mean(axis=0) - mean**2
    expected = np.sqrt(variance * 2 / np.pi)  # E|e| of a Gaussian
    return Judgement(mean, -expected, expected)


def model_state(model: PricingModel) -> dict[str, np.ndarray]:
    """All of a model's weights under flat names."""
    regressors = {f"regressor{k}": network for k, network in enumerate(model.regressors)}
    return state_of(regressors | {"gate": model.gate, "scale": model.scale})


def state_of(networks: Mapping[str, PriceNetwork]) -> dict[str, np.ndarray]:
    """The weights of named networks under flat names."""
    return {f"{part}.{name}": value for part, network in networks.items() for name, value in weights(network).items()}


def networks_of(state: Mapping[str, np.ndarray]) -> dict[str, PriceNetwork]:
    """The named networks of a `state_of`, in the order of their names; widths are those of the weights."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, parameter = name.partition(".")
        parts.setdefault(part, {})[parameter] = torch.from_numpy(value)
    return {part: network_from_state(parts[part]) for part in sorted(parts)}


def model_from_state(state: Mapping[str, np.ndarray], beside: Beside | None = None) -> PricingModel:
    """The model of a `model_state`, with what stands beside its networks."""
    networks = networks_of(state)
    gate, scale = networks.pop("gate"), networks.pop("scale")
    return PricingModel(list(networks.values()), gate, scale, beside)


def network_from_state(state: Mapping[str, Tensor]) -> PriceNetwork:
    """A network with these weights, ready to predict."""
    matrices = [value for value in state.values() if value.ndim == 2]
    hidden = tuple(matrix.shape[0] for matrix in matrices[:-1])
    with DRAWING:
        network = PriceNetwork(matrices[0].shape[1], hidden, 0.0, matrices[-1].shape[0])
    network.load_state_dict(dict(state))
    return network.eval().to(accelerator())
