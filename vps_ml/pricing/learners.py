"""What each price network is trained on, with which loss.

Axes: N item, B batch, O output, V validation item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gaussian_nll_loss, huber_loss, mse_loss

from vps_ml.backbones.networks import accelerator
from vps_ml.features.matrix import MatrixRows
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.networks import (
    DRAWING,
    Examples,
    PriceNetwork,
    all_outputs,
    mean_output,
    network_for,
    output,
    own_dropout,
    parameters_of,
)
from vps_ml.pricing.objectives import laplace_objective, percentile_objective, threshold_objective
from vps_ml.pricing.schedule import batches_per_epoch, phases, stage_one_twice
from vps_ml.recipes import PricingRecipe
from vps_ml.threads import side_by_side
from vps_ml.training_loop import Loop, Phase, Session, is_small, optimise

MARGIN_OF_CONSTRAINT_WEIGHT = 4.0
"""β over the regressor's mean squared error: β must exceed the loss at the δ boundary."""
EXPLAINED_AT_LEAST = 0.5
"""Share of the prices' variance that a regressor is taken to explain where β has to be set before it is trained."""

Objective = Callable[..., Tensor]
"""(squared_error, gate_logit, warming_up, counted) -> loss; see `percentile_objective` for the last, which may be left
out, and which only Eq. 1 takes."""


def constraint_objective(kind: str, value: float, recipe: PricingRecipe, mean_squared_error: float) -> Objective:
    """Eq. 1 (`percentile`, δ = value) or Eq. 3 (`threshold`, ε = value), its β set from data.

    Args:
        kind: of the constraint.
        value: δ or ε.
        recipe: the pricing recipe.
        mean_squared_error: of a regressor on items that it did not see, in squared ln units.

    Raises:
        ValueError: no objective has this kind of constraint.
    """
    weight = MARGIN_OF_CONSTRAINT_WEIGHT * mean_squared_error

    def percentile(
        squared_error: Tensor, gate_logit: Tensor, warming_up: bool, counted: Tensor | None = None
    ) -> Tensor:
        return percentile_objective(
            squared_error,
            gate_logit,
            coverage_target=value,
            constraint_weight=weight,
            warming_up=warming_up,
            surrogate=recipe.surrogate,
            counted=counted,
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
            surrogate=recipe.surrogate,
        )

    objectives = {"percentile": percentile, "threshold": threshold}
    if kind not in objectives:
        raise ValueError(f"no objective for the constraint {kind!r}; there are {', '.join(objectives)}")
    return objectives[kind]


@dataclass(frozen=True)
class Learner:
    """How a network is trained alone: its loss of (its outputs (B O), the target (B)), and its regularisation."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    dropout: float
    weight_decay: float
    schedule: Sequence[Phase]
    start: float = 0.0
    """Its first output before training."""
    outputs: int = 1
    learning: str | None = None
    """Prices or errors, which are not learnt from every column; None: from all."""
    recordable: bool = True
    """Whether the loss never waits for a GPU."""


def blind(network: PriceNetwork, columns: Sequence[int]) -> None:
    """Make the network's weights of these columns zero for good: what it is given there says nothing to it."""
    first = network.layers[0]
    assert isinstance(first, nn.Linear)
    seen = torch.ones(first.in_features, device=first.weight.device)
    seen[list(columns)] = 0
    with torch.no_grad():
        first.weight.mul_(seen)
    first.weight.register_hook(lambda gradient: gradient * seen)


def train_alone(
    learner: Learner, train: Examples, validation: Examples, recipe: PricingRecipe, seed: int, session: Session
) -> PriceNetwork:
    """Train one network with its learner's loss."""
    matrix = train.x.matrix
    with DRAWING:
        torch.manual_seed(seed)
        network = network_for(matrix.width, learner.start, recipe.hidden, learner.dropout, learner.outputs)
        dropout = own_dropout(network)
    if learner.learning is not None:
        blind(network, matrix.hidden.get(learner.learning, ()))

    def loss(rows: Tensor, phase: Phase) -> Tensor:
        x, target = train.batch(rows)
        return learner.loss(network.layers(x), target)

    loop = Loop(
        name=learner.name,
        networks={"network": network},
        optimizer=torch.optim.Adam(network.parameters(), weight_decay=learner.weight_decay, fused=True),
        phases=learner.schedule,
        rows=len(train.x),
        batches_per_epoch=batches_per_epoch(len(train.x), recipe.batch_size),
        loss=loss,
        generator=torch.Generator().manual_seed(seed),
        dropout=dropout,
        validation_loss=lambda phase: learner.loss(all_outputs(network, validation.x), validation.target),
        patience=recipe.patience,
        recordable=learner.recordable and isinstance(train.x, MatrixRows),
    )
    optimise(loop, session)
    return network


def at_once(width: int, recipe: PricingRecipe) -> bool:
    """Whether networks that take so many columns are trained side by side: where their steps are small, on a CPU."""
    return accelerator().type == "cpu" and is_small(parameters_of(width, recipe.hidden), recipe.batch_size)


def train_each(
    members: Sequence[tuple[Learner, Examples]],
    validation: Examples,
    recipe: PricingRecipe,
    seeds: Sequence[int],
    session: Session,
) -> list[PriceNetwork]:
    """Train a network for each learner with its examples and seed: side by side if their steps are small.

    Each is what it is if trained alone (docs/adr/0034). A GPU is given one after the other.
    """

    def trained(k: int, not_wanted: Event | None = None) -> tuple[PriceNetwork, Session]:
        own = replace(session, curves={}, not_wanted=not_wanted)
        (learner, train), seed = members[k], seeds[k]
        return train_alone(learner, train, validation, recipe, seed, own), own

    each, width = range(len(members)), members[0][1].x.matrix.width
    ended = side_by_side(trained, each) if at_once(width, recipe) else [trained(k) for k in each]
    for _, own in ended:
        session.curves.update(own.curves)
    return [network for network, _ in ended]


def regressor(name: str, train: Examples, recipe: PricingRecipe) -> Learner:
    """f_reg alone on all items, with Huber's loss if the recipe has one, else with the squared error."""

    def loss(out: Tensor, price: Tensor) -> Tensor:
        if recipe.huber_at is None:
            return mse_loss(out[:, 0], price)
        return huber_loss(out[:, 0], price, delta=recipe.huber_at)

    schedule = stage_one_twice(recipe, len(train.x))
    start = float(train.target.mean())
    return Learner(name, loss, recipe.dropout, recipe.weight_decay, schedule, start, learning=PRICES)


def gaussian(name: str, train: Examples, recipe: PricingRecipe) -> Learner:
    """Mean and log variance of the log price, with the Gaussian likelihood (Nix and Weigend, 1994)."""

    def loss(out: Tensor, price: Tensor) -> Tensor:
        return gaussian_nll_loss(out[:, 0], price, out[:, 1].exp())

    schedule = stage_one_twice(recipe, len(train.x))
    start = float(train.target.mean())
    return Learner(  # the loss looks whether a variance is negative
        name, loss, recipe.dropout, recipe.weight_decay, schedule, start, outputs=2, recordable=False
    )


def expected_error(train: Examples, recipe: PricingRecipe) -> Learner:
    """The logarithm of the expected |error|, trained on out-of-fold errors with the Laplace likelihood."""
    schedule = stage_one_twice(recipe, len(train.x))
    start = float(train.target.abs().mean().log())
    return Learner("expected error", lambda out, error: laplace_objective(error, out[:, 0]), recipe.gate_dropout,
                   recipe.weight_decay, schedule, start, learning=ERRORS)  # fmt: skip


def gate(train: Examples, objective: Objective, recipe: PricingRecipe) -> Learner:
    """f_cls alone, trained on squared errors of networks that did not see the item (stage 2's phases).

    Without weight decay: while the hinge is met nothing else may move it (docs/adr/0003).

    Args:
        train: what it learns from; targets are squared errors, or those and 1 or 0 for what coverage counts (N 2).
        objective: Eq. 1 or Eq. 3.
        recipe: the pricing recipe.
    """
    schedule = phases(recipe, len(train.x), warm_up=True)[2:]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 1:
            return objective(target, out[:, 0], False)
        return objective(target[:, 0], out[:, 0], False, target[:, 1] > 0)

    return Learner("gate", loss, recipe.gate_dropout, 0.0, schedule, learning=ERRORS)


def train_jointly(
    train: Examples,
    validation: Examples,
    objective: Objective,
    recipe: PricingRecipe,
    warm_up: bool,
    seed: int,
    session: Session,
) -> tuple[PriceNetwork, PriceNetwork]:
    """f_reg and f_cls together, as in the paper: in-sample squared errors, Adam, two stages."""
    width = train.x.matrix.width
    with DRAWING:
        torch.manual_seed(seed)
        price = network_for(width, float(train.target.mean()), recipe.hidden, recipe.dropout)
        accept = network_for(width, 0.0, recipe.hidden, recipe.gate_dropout)
        dropout = own_dropout(price, accept)

    def loss(rows: Tensor, phase: Phase) -> Tensor:
        x, y = train.batch(rows)
        return objective((y - price(x)).square(), accept(x), phase.warming_up)

    def validation_loss(phase: Phase) -> Tensor:
        predicted, gate_logit = (all_outputs(network, validation.x)[:, 0] for network in (price, accept))
        return objective((validation.target - predicted).square(), gate_logit, phase.warming_up)

    # The gate has no weight decay: while the hinge is met in stage 1 nothing else moves it, and Adam, which
    # scales every gradient to its rate, would decay it to a constant.
    decay: dict = {"params": price.parameters(), "weight_decay": recipe.weight_decay}
    loop = Loop(
        name="joint",
        networks={"regressor": price, "gate": accept},
        optimizer=torch.optim.Adam([decay, {"params": accept.parameters()}], fused=True),
        phases=phases(recipe, len(train.x), warm_up),
        rows=len(train.x),
        batches_per_epoch=batches_per_epoch(len(train.x), recipe.batch_size),
        loss=loss,
        generator=torch.Generator().manual_seed(seed),
        dropout=dropout,
        validation_loss=validation_loss,
        patience=recipe.patience,
        recordable=isinstance(train.x, MatrixRows),
    )
    optimise(loop, session)
    return price, accept


@dataclass(frozen=True)
class FoldNetworks:
    """K regressors, each trained without one fold, and their errors on items that they did not see."""

    networks: list[PriceNetwork]
    residual: Float[np.ndarray, " N"]
    """y - f_reg of the network that was trained without the item, in ln units."""
    held_out_residual: Float[np.ndarray, " V"]
    """y - the networks' mean, on the validation rows, in ln units."""
    scale: PriceNetwork
    """Predicts the logarithm of the expected |residual|."""
    curves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How training went, by network (`Curve.described`); none of networks that older code has trained."""


def train_folds(
    train: tuple[MatrixRows, np.ndarray],
    validation: tuple[MatrixRows, np.ndarray],
    group: np.ndarray,
    recipe: PricingRecipe,
    seed: int,
    session: Session,
) -> FoldNetworks:
    """Cross-fitting: done once and shared among all δ and ε, on which it does not depend.

    Args:
        train: features and log prices of the training rows.
        validation: those of the validation rows, for early stopping.
        group: each training row's group; all rows of a group are in one fold.
        recipe: how the networks are built and trained.
        seed: of folds, initial weights and batches.
        session: where the training reports.
    """
    (x, y), stop = train, Examples.of(*validation)
    fold = fold_of_group(group, recipe.folds, seed)
    members = []
    for k in range(recipe.folds):
        inside = Examples.of(x.where(fold != k), y[fold != k])
        members.append((regressor(f"fold {k + 1} of {recipe.folds}", inside, recipe), inside))
    networks = train_each(members, stop, recipe, [seed * 1000 + k for k in range(recipe.folds)], session)
    residual = np.zeros(len(y))
    for k, network in enumerate(networks):
        residual[fold == k] = y[fold == k] - output(network, x.where(fold == k))
    held_out_residual = validation[1] - mean_output(networks, validation[0])
    errors = Examples.of(x, residual)
    learner = expected_error(errors, recipe)
    scale = train_alone(learner, errors, Examples.of(validation[0], held_out_residual), recipe, seed, session)
    return FoldNetworks(networks, residual, held_out_residual, scale)
