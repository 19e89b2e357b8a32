"""The two price networks, f_reg and f_cls, and the loops that train them.

Axes: N item, B batch, F feature, K fold.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vps_ml.backbones import accelerator
from vps_ml.folds import fold_of_group
from vps_ml.objectives import percentile_objective, threshold_objective
from vps_ml.recipes import PricingRecipe

MARGIN_OF_CONSTRAINT_WEIGHT = 4.0
"""β over the regressor's mean squared error: β must exceed the loss at the δ boundary (findings, 7)."""

Objective = Callable[[Tensor, Tensor, bool], Tensor]
"""(squared_error, gate_logit, warming_up) -> loss."""


class PriceNetwork(nn.Module):
    """A multilayer perceptron with one output; f_reg and f_cls share this shape, not the weights (Figure 5)."""

    def __init__(self, features: int, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out in zip((features, *hidden), hidden, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], 1))

    def forward(self, x: Float[Tensor, "B F"]) -> Float[Tensor, " B"]:
        return self.layers(x)[:, 0]


@dataclass(frozen=True)
class Phase:
    """Some epochs at one learning rate."""

    epochs: int
    learning_rate: float
    warming_up: bool


def phases(recipe: PricingRecipe, warm_up: bool) -> tuple[Phase, ...]:
    """The paper's four phases; without warm-up, stage 2 alone for as many epochs in all."""
    a, b, c, d = recipe.epochs
    fast, slow = recipe.learning_rates
    if warm_up:
        return Phase(a, fast, True), Phase(b, slow, True), Phase(c, fast, False), Phase(d, slow, False)
    return Phase(a + c, fast, False), Phase(b + d, slow, False)


def constraint_objective(kind: str, value: float, recipe: PricingRecipe, mean_squared_error: float) -> Objective:
    """Eq. 1 (`percentile`, δ = value) or Eq. 3 (`threshold`, ε = value), its β set from data."""
    weight = MARGIN_OF_CONSTRAINT_WEIGHT * mean_squared_error

    def percentile(squared_error: Tensor, gate_logit: Tensor, warming_up: bool) -> Tensor:
        return percentile_objective(
            squared_error, gate_logit, coverage_target=value, constraint_weight=weight, warming_up=warming_up
        )

    def threshold(squared_error: Tensor, gate_logit: Tensor, warming_up: bool) -> Tensor:
        return threshold_objective(
            squared_error,
            gate_logit,
            error_tolerance=value,
            coverage_floor=recipe.coverage_floor,
            constraint_weight=weight,
            label_weight=recipe.label_weight,
            warming_up=warming_up,
        )

    return {"percentile": percentile, "threshold": threshold}[kind]


def batches(rows: int, batch_size: int, generator: torch.Generator) -> Iterable[Tensor]:
    """A shuffled epoch in batches of nearly equal size, none above `batch_size`."""
    return torch.randperm(rows, generator=generator).tensor_split(max(1, -(-rows // batch_size)))


def network_for(x: Tensor, y: Tensor, recipe: PricingRecipe, dropout: float) -> PriceNetwork:
    """A fresh network whose output starts at the mean of `y`."""
    network = PriceNetwork(x.shape[1], recipe.hidden, dropout)
    with torch.no_grad():
        network.layers[-1].bias.fill_(float(y.mean()))  # type: ignore[operator]
    return network.to(x.device)


def on_device(array: np.ndarray) -> Tensor:
    """The array where the training happens, once: on a GPU loading would be the bottleneck."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(accelerator())


def train_regressor(x: Tensor, y: Tensor, recipe: PricingRecipe, seed: int) -> PriceNetwork:
    """f_reg alone on all items, for stage 1's epochs and rates twice over: what warm-up converges to."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = network_for(x, y, recipe, recipe.dropout)
    optimizer = torch.optim.Adam(network.parameters(), weight_decay=recipe.weight_decay)
    for phase in phases(recipe, warm_up=True)[:2]:
        optimizer.param_groups[0]["lr"] = phase.learning_rate
        for epoch in range(2 * phase.epochs):
            for rows in batches(len(x), recipe.batch_size, generator):
                loss = (y[rows] - network(x[rows])).square().mean()
                step(optimizer, loss, epoch, phase)
    return network.eval()


def train_jointly(
    x: Tensor, y: Tensor, objective: Objective, recipe: PricingRecipe, warm_up: bool, seed: int
) -> tuple[PriceNetwork, PriceNetwork]:
    """f_reg and f_cls together, as in the paper: in-sample errors, Adam, two stages."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    regressor = network_for(x, y, recipe, recipe.dropout)
    gate = network_for(x, torch.zeros(1), recipe, recipe.gate_dropout)
    # The gate has no weight decay: while the hinge is met in stage 1 nothing else moves it, and Adam, which
    # scales every gradient to its rate, would decay it to a constant.
    decay: dict = {"params": regressor.parameters(), "weight_decay": recipe.weight_decay}
    optimizer = torch.optim.Adam([decay, {"params": gate.parameters()}])
    for phase in phases(recipe, warm_up):
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate
        for epoch in range(phase.epochs):
            for rows in batches(len(x), recipe.batch_size, generator):
                squared_error = (y[rows] - regressor(x[rows])).square()
                step(optimizer, objective(squared_error, gate(x[rows]), phase.warming_up), epoch, phase)
    return regressor.eval(), gate.eval()


def train_gate(
    x: Tensor, squared_error: Tensor, objective: Objective, recipe: PricingRecipe, seed: int
) -> PriceNetwork:
    """f_cls alone, on squared errors that come from networks which did not train on the item."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    gate = network_for(x, torch.zeros(1), recipe, recipe.gate_dropout)
    optimizer = torch.optim.Adam(gate.parameters())
    for phase in phases(recipe, warm_up=True)[2:]:
        optimizer.param_groups[0]["lr"] = phase.learning_rate
        for epoch in range(phase.epochs):
            for rows in batches(len(x), recipe.batch_size, generator):
                step(optimizer, objective(squared_error[rows], gate(x[rows]), False), epoch, phase)
    return gate.eval()


def step(optimizer: torch.optim.Optimizer, loss: Tensor, epoch: int, phase: Phase) -> None:
    """One step of the optimiser.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    if not torch.isfinite(loss):
        rate = phase.learning_rate
        raise FloatingPointError(f"the loss is {loss.item()} in epoch {epoch + 1} at learning rate {rate:g}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@dataclass(frozen=True)
class FoldNetworks:
    """K regressors, each trained without one fold, and every item's error by the one that did not see it."""

    networks: list[PriceNetwork]
    residual: Float[np.ndarray, " N"]
    """y - f_reg of the network that was trained without the item, in ln units."""


def train_folds(x: np.ndarray, y: np.ndarray, group: np.ndarray, recipe: PricingRecipe, seed: int) -> FoldNetworks:
    """Cross-fitting: train once, share among all δ and ε, on which it does not depend."""
    fold = fold_of_group(group, recipe.folds, seed)
    features, prices = on_device(x), on_device(y)
    residual = np.zeros(len(y))
    networks = []
    for k in range(recipe.folds):
        inside, outside = torch.from_numpy(np.flatnonzero(fold != k)), np.flatnonzero(fold == k)
        network = train_regressor(features[inside], prices[inside], recipe, seed * 1000 + k)
        residual[outside] = y[outside] - output(network, x[outside])
        networks.append(network)
    return FoldNetworks(networks, residual)


@torch.inference_mode()
def output(network: PriceNetwork, x: np.ndarray) -> Float[np.ndarray, " N"]:
    """A network's output for all rows, in double precision."""
    device = next(network.parameters()).device
    parts = [network(torch.from_numpy(part).to(device)) for part in np.array_split(x, max(1, len(x) // 65536))]
    return torch.cat(parts).double().cpu().numpy()


@dataclass(frozen=True)
class PricingModel:
    """What prices a listing: the mean of one or more regressors, and a gate with its calibrated shift."""

    regressors: list[PriceNetwork]
    gate: PriceNetwork
    logit_shift: float = 0.0
    range_offsets: tuple[float, float] = (0.0, 0.0)

    def log_price(self, x: np.ndarray) -> Float[np.ndarray, " N"]:
        """f_reg: the predicted log price."""
        return np.mean([output(network, x) for network in self.regressors], axis=0)

    def gate_logit(self, x: np.ndarray) -> Float[np.ndarray, " N"]:
        """The logit of f_cls as trained, before calibration."""
        return output(self.gate, x)

    def qualification(self, x: np.ndarray) -> Float[np.ndarray, " N"]:
        """f_cls after calibration, 0 to 1: qualified at 0.5 and above."""
        return 1 / (1 + np.exp(-(self.gate_logit(x) - self.logit_shift)))


def model_state(model: PricingModel) -> dict[str, Tensor]:
    """All of a model's weights under flat names."""
    return state_of({f"regressor{k}": network for k, network in enumerate(model.regressors)} | {"gate": model.gate})


def state_of(networks: Mapping[str, PriceNetwork]) -> dict[str, Tensor]:
    """The weights of named networks under flat names."""
    return {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, network in networks.items()
        for name, value in network.state_dict().items()
    }


def networks_of(state: Mapping[str, Tensor]) -> dict[str, PriceNetwork]:
    """The named networks whose `state_of` this is; the widths are read off the weights."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, parameter = name.partition(".")
        parts.setdefault(part, {})[parameter] = value
    return {part: network_from_state(parts[part]) for part in sorted(parts)}


def model_from_state(
    state: Mapping[str, Tensor], logit_shift: float, range_offsets: tuple[float, float]
) -> PricingModel:
    """The model whose `model_state` this is."""
    networks = networks_of(state)
    gate = networks.pop("gate")
    return PricingModel(list(networks.values()), gate, logit_shift, range_offsets)


def network_from_state(weights: dict[str, Tensor]) -> PriceNetwork:
    """A network with these weights, ready to predict."""
    matrices = [value for value in weights.values() if value.ndim == 2]
    network = PriceNetwork(matrices[0].shape[1], tuple(m.shape[0] for m in matrices[:-1]), 0.0)
    network.load_state_dict(weights)
    return network.eval()
