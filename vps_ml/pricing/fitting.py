"""How each objective fits a price model, and what objectives share: fold networks, and kernel machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vps_ml.artefacts import Contents, identity
from vps_ml.features.dataset import CODE_VERSION, PricingDataset
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import PRICES
from vps_ml.pricing.blends import (
    MACHINES,
    TREES,
    Beside,
    Blend,
    KernelFolds,
    Ranks,
    blend_weights,
    fit_kernel_folds,
)
from vps_ml.pricing.expected_errors import ERROR_SCALE, SCALE, Comparables
from vps_ml.pricing.kernels import KernelMachine
from vps_ml.pricing.learners import (
    EXPLAINED_AT_LEAST,
    MARGIN_OF_CONSTRAINT_WEIGHT,
    FoldNetworks,
    constraint_objective,
    expected_error,
    gate,
    train_alone,
    train_folds,
    train_jointly,
)
from vps_ml.pricing.networks import Examples, PriceNetwork, PricingModel, mean_output, networks_of, output, state_of
from vps_ml.pricing.trees import FoldTrees, fit_fold_trees, trees_of, trees_text
from vps_ml.pricing.variants import Variant
from vps_ml.training_loop import Session

STATE = "state"
"""Name of the weights among an artefact's arrays."""
RESIDUALS = "residual"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Fit:
    """What an objective's training takes; the parts that objectives share are made when one asks for them."""

    dataset: PricingDataset
    variant: Variant
    session: Session

    @cached_property
    def folds(self) -> FoldNetworks:
        return fold_networks(self.dataset, self.variant, self.session.log)

    @cached_property
    def kernel(self) -> KernelFolds:
        return kernel_folds(self.dataset, self.variant, self.session.log)

    @cached_property
    def trees(self) -> FoldTrees:
        return fold_trees(self.dataset, self.variant, self.session.log)

    def numbers(self, role: str) -> np.ndarray:
        """The numbers of the rows of a role."""
        return self.dataset.role(self.variant.split_kind, role)

    def examples(self, role: str, target: np.ndarray) -> Examples:
        """The rows of a role with what is predicted from them, `target` being in their order."""
        _, x = self.dataset.matrix(self.variant.features, self.variant.split_kind)
        return Examples.of(x.rows(self.numbers(role)), target)

    def log_price(self, role: str) -> np.ndarray:
        return self.dataset.log_price[self.numbers(role)]

    def trained_gate(self, residual: np.ndarray, held_out_residual: np.ndarray) -> "tuple[PriceNetwork, float]":
        """(f_cls, trained on the squares of these errors, and β).

        Args:
            residual: errors on training rows of regressors that did not see them, in ln units.
            held_out_residual: errors on validation rows.
        """
        recipe, variant = self.dataset.recipe.pricing, self.variant
        squared = float(np.square(residual).mean())
        loss = constraint_objective(variant.constraint_kind, variant.constraint_value, recipe, squared)
        errors = self.examples("train", np.square(residual))
        validation = self.examples("validation", np.square(held_out_residual))
        accept = train_alone(gate(errors, loss, recipe), errors, validation, recipe, variant.seed, self.session)
        return accept, MARGIN_OF_CONSTRAINT_WEIGHT * squared


@dataclass(frozen=True)
class Fitted:
    """A price model, and the weight of its constraint."""

    model: PricingModel
    constraint_weight: float
    """β, in squared ln units."""
    blend_id: str | None = None
    """The artefact of what stands beside the networks."""


def fit_jointly(fit: Fit) -> Fitted:
    """The paper's objective: f_reg and f_cls together, on in-sample errors.

    β is set before anything is trained: from the prices' variance, of which a regressor is taken to explain half. The
    expected error, which the paper does not have and only shapes the range, is learnt from f_reg's own errors.
    """
    recipe, variant = fit.dataset.recipe.pricing, fit.variant
    train, validation = (fit.examples(role, fit.log_price(role)) for role in ("train", "validation"))
    squared = (1 - EXPLAINED_AT_LEAST) * float(fit.log_price("train").var())
    loss = constraint_objective(variant.constraint_kind, variant.constraint_value, recipe, squared)
    regressor, accept = train_jointly(train, validation, loss, recipe, variant.warm_up, variant.seed, fit.session)
    errors, unseen = (
        fit.examples(role, fit.log_price(role) - output(regressor, part.x))
        for role, part in (("train", train), ("validation", validation))
    )
    scale = train_alone(expected_error(errors, recipe), errors, unseen, recipe, variant.seed, fit.session)
    return Fitted(PricingModel([regressor], accept, scale), MARGIN_OF_CONSTRAINT_WEIGHT * squared)


def fit_cross_fitted(fit: Fit) -> Fitted:
    """The fold regressors' mean, and a gate that is trained on their errors on items that they did not see."""
    accept, weight = fit.trained_gate(fit.folds.residual, fit.folds.held_out_residual)
    return Fitted(PricingModel(fit.folds.networks, accept, fit.folds.scale), weight)


def fit_blended(fit: Fit) -> Fitted:
    """`cross_fitted` with a kernel machine and boosted trees (`Blend`): their prices' mean, and a gate of two words.

    f_cls is trained, as in `cross_fitted`, by the paper's objective on errors of items that no regressor saw: those of
    the blended price. Its rank is joined with that of the error which comparables let expect.
    """
    blend_id, residual = blended(fit)
    blend = Blend.load(fit.dataset.artefacts.models, blend_id)
    validation = fit.examples("validation", fit.log_price("validation"))
    price = blend.price(validation.x, mean_output(fit.folds.networks, validation.x))
    accept, weight = fit.trained_gate(residual, fit.log_price("validation") - price)
    expected = blend.error.expected_error(validation.x, price)
    ranks = Ranks.among(output(accept, validation.x), expected, blend.error_share)
    model = PricingModel(fit.folds.networks, accept, fit.folds.scale, Beside(blend, ranks))
    return Fitted(model, weight, blend_id)


OBJECTIVES: Mapping[str, Callable[[Fit], Fitted]] = {
    "paper": fit_jointly,
    "cross_fitted": fit_cross_fitted,
    "blended": fit_blended,
}


def fold_networks(dataset: PricingDataset, variant: Variant, log: Log) -> FoldNetworks:
    """The K regressors of these features, split and seed: trained for the first variant that needs them, then read."""
    models, recipe = dataset.artefacts.models, dataset.recipe
    fold_id = shared_id("folds", dataset, variant)

    def fill() -> Contents:
        log(f"{recipe.pricing.folds} fold networks on {variant.features}, {variant.split_kind} split")
        _, x = dataset.matrix(variant.features, variant.split_kind)
        train, validation = (dataset.role(variant.split_kind, role) for role in ("train", "validation"))
        folds = train_folds(
            (x.rows(train), dataset.log_price[train]),
            (x.rows(validation), dataset.log_price[validation]),
            dataset.group[train],
            recipe.pricing,
            variant.seed,
            Session(log, models.resume_folder(fold_id)),
        )
        named = {f"fold{k}": network for k, network in enumerate(folds.networks)}
        residuals = {"residual": folds.residual, "held_out_residual": folds.held_out_residual}
        card = shared_card("folds", dataset, variant)
        return Contents(card, arrays={STATE: state_of(named | {"scale": folds.scale}), RESIDUALS: residuals})

    models.make(fold_id, fill)
    networks = networks_of(models.arrays(fold_id, STATE))
    scale = networks.pop("scale")
    return FoldNetworks(list(networks.values()), **models.arrays(fold_id, RESIDUALS), scale=scale)


def shared_id(kind: str, dataset: PricingDataset, variant: Variant) -> str:
    """The id of what all models of these features, split and seed share."""
    key = (variant.features, variant.split_kind, variant.seed)
    return identity(kind, CODE_VERSION, dataset.data_id, key, dataset.recipe.described())


def shared_card(kind: str, dataset: PricingDataset, variant: Variant) -> dict[str, str]:
    """What it is, and what it has learnt from."""
    split = {"features": variant.features, "split_kind": variant.split_kind}
    return {"kind": kind, **split, "roles_id": dataset.roles_id()}


def kernel_folds(dataset: PricingDataset, variant: Variant, log: Log) -> KernelFolds:
    """The kernel machine of these features, split and seed: fitted for the first that needs it, then read."""
    models, kernel_id = dataset.artefacts.models, shared_id("kernel", dataset, variant)

    def fill() -> Contents:
        log(f"kernel machine on {variant.features}, {variant.split_kind} split")
        map_id, x = dataset.matrix(variant.features, variant.split_kind)
        train = dataset.role(variant.split_kind, "train")
        feature_map = FeatureMap.load(dataset.artefacts, map_id)
        made = fit_kernel_folds(
            x.rows(train), dataset.log_price[train], dataset.group[train], feature_map, variant.seed
        )
        own = {SCALE: made.scale, ERROR_SCALE: made.error_scale, "residual": made.residual}
        arrays = own | made.machine.arrays("price")
        return Contents(shared_card("kernel", dataset, variant), arrays={MACHINES: arrays})

    models.make(kernel_id, fill)
    arrays = models.arrays(kernel_id, MACHINES)
    scales = arrays[SCALE], arrays[ERROR_SCALE]
    return KernelFolds(KernelMachine.of(arrays, "price"), *scales, arrays["residual"])


def fold_trees(dataset: PricingDataset, variant: Variant, log: Log) -> FoldTrees:
    """The boosted trees of these features, split and seed: fitted for the first that needs them, then read."""
    models, trees_id = dataset.artefacts.models, shared_id("trees", dataset, variant)

    def fill() -> Contents:
        log(f"boosted trees on {variant.features}, {variant.split_kind} split")
        _, x = dataset.matrix(variant.features, variant.split_kind)
        train, validation = (dataset.role(variant.split_kind, role) for role in ("train", "validation"))
        learnt, stop = ((x.rows(rows).array(PRICES), dataset.log_price[rows]) for rows in (train, validation))
        folds = dataset.recipe.pricing.folds
        made = fit_fold_trees(learnt, stop, dataset.group[train], folds, variant.seed)
        residuals = {"residual": made.residual, "held_out_residual": made.held_out_residual}
        card = shared_card("trees", dataset, variant)
        return Contents(card, arrays={RESIDUALS: residuals}, texts={TREES: trees_text(made.boosters)})

    models.make(trees_id, fill)
    return FoldTrees(trees_of(models.text(trees_id, TREES)), **models.arrays(trees_id, RESIDUALS))


def blended(fit: Fit) -> tuple[str, np.ndarray]:
    """(the artefact of what stands beside the networks, errors of the blended price on training rows, unseen)."""
    residuals = [fit.folds.residual, fit.kernel.residual, fit.trees.residual]
    weights = blend_weights(residuals)
    residual = weights @ np.stack(residuals)
    blend_id = shared_id("blend", fit.dataset, fit.variant)

    def fill() -> Contents:
        kernel, group = fit.kernel, fit.dataset.group[fit.numbers("train")]
        train = fit.examples("train", residual)
        error = Comparables.among(train.x, fit.log_price("train"), group, kernel.error_scale, fit.variant.seed)
        made = Blend(kernel.machine, kernel.scale, fit.trees.boosters, error, weights).contents()
        return replace(made, card=shared_card("blend", fit.dataset, fit.variant))

    fit.dataset.artefacts.models.make(blend_id, fill)
    return blend_id, residual
