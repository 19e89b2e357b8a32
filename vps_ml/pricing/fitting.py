"""How each objective fits a price model, and what objectives share: fold networks, and kernel machines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from vps_ml.cards import Contents, identity
from vps_ml.features.dataset import CODE_VERSION, PricingDataset
from vps_ml.features.matrix import JoinedRows, MatrixRows
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.spoilt import training_copies
from vps_ml.features.tabular import PRICES
from vps_ml.pricing.blends import (
    MACHINES,
    OWN_SHARE,
    TREES,
    Beside,
    Blend,
    KernelFolds,
    Ranks,
    Words,
    blend_weights,
    fit_kernel_folds,
)
from vps_ml.pricing.expected_errors import ERROR_SCALE, SCALE, Comparables
from vps_ml.pricing.folds import fold_of_group
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
from vps_ml.pricing.variants import CURVES, Variant
from vps_ml.threads import check_wanted
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

    @property
    def curves(self) -> dict[str, Mapping[str, Any]]:
        """How the training of each network went that there is by now."""
        shared = self.folds.curves if "folds" in vars(self) else {}
        return {**shared, **described(self.session)}

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

    def rows(self, role: str) -> MatrixRows:
        """The features of a role's rows."""
        _, x = self.dataset.matrix(self.variant.features, self.variant.split_kind)
        return x.rows(self.numbers(role))

    def examples(self, role: str, target: np.ndarray) -> Examples:
        """The rows of a role with what is predicted from them, `target` being in their order."""
        return Examples.of(self.rows(role), target)

    def log_price(self, role: str) -> np.ndarray:
        return self.dataset.log_price[self.numbers(role)]

    def trained_gate(
        self, residual: np.ndarray, held_out_residual: np.ndarray, copies: "Copies | None" = None
    ) -> tuple[PriceNetwork, float]:
        """(f_cls, trained on the squares of these errors, and β).

        Args:
            residual: errors on training rows of regressors that did not see them, in ln units.
            held_out_residual: errors on validation rows.
            copies: what it learns from besides.
        """
        recipe, variant = self.dataset.recipe.pricing, self.variant
        squared = float(np.square(residual).mean())
        loss = constraint_objective(variant.constraint_kind, variant.constraint_value, recipe, squared)
        if copies is None:
            errors = self.examples("train", np.square(residual))
        else:
            both = np.concatenate([residual, copies.residual])
            counted = np.arange(len(both)) < len(residual)  # of copies no share is asked for
            targets = np.stack([np.square(both), counted], axis=1)
            errors = Examples.of(JoinedRows(self.rows("train"), copies.x), targets)
        validation = self.examples("validation", np.square(held_out_residual))
        accept = train_alone(gate(errors, loss, recipe), errors, validation, recipe, variant.seed, self.session)
        return accept, MARGIN_OF_CONSTRAINT_WEIGHT * squared


@dataclass(frozen=True)
class Copies:
    """Training photos made worse on purpose, and how far off their price is."""

    x: MatrixRows
    residual: np.ndarray
    """In ln units."""


@dataclass(frozen=True)
class Fitted:
    """A price model, and the weight of its constraint."""

    model: PricingModel
    constraint_weight: float
    """β, in squared ln units."""
    blend_id: str | None = None
    """The artefact of what stands beside the networks."""
    copies: int = 0
    """Worse copies of photos that the gate has learnt from."""
    residual: np.ndarray | None = None
    """Errors on training rows of regressors that had not seen them, in ln units; None: there are none of these."""


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
        fit.examples(role, fit.log_price(role) - output(regressor, fit.rows(role))) for role in ("train", "validation")
    )
    scale = train_alone(expected_error(errors, recipe), errors, unseen, recipe, variant.seed, fit.session)
    return Fitted(PricingModel([regressor], accept, scale), MARGIN_OF_CONSTRAINT_WEIGHT * squared)


def fit_cross_fitted(fit: Fit) -> Fitted:
    """The fold regressors' mean, and a gate that is trained on their errors on items that they did not see."""
    accept, weight = fit.trained_gate(fit.folds.residual, fit.folds.held_out_residual)
    return Fitted(PricingModel(fit.folds.networks, accept, fit.folds.scale), weight, residual=fit.folds.residual)


def fit_blended(fit: Fit) -> Fitted:
    """`cross_fitted` with a kernel machine and boosted trees (`Blend`): their prices' mean, and a gate of three words.

    f_cls is trained, as in `cross_fitted`, by the paper's objective on errors of items that no regressor saw: those of
    the blended price, and with Eq. 1 also on worse copies of training photos. Its rank is joined with those of the
    errors which the networks and comparables let expect.
    """
    blend_id, residual = blended(fit)
    check_wanted(fit.session.not_wanted)
    blend, kind = Blend.load(fit.dataset.artefacts.models, blend_id), fit.variant.constraint_kind
    x = fit.rows("validation")
    price = blend.price(x, mean_output(fit.folds.networks, x))
    check_wanted(fit.session.not_wanted)
    copies = spoilt(fit, residual) if kind == "percentile" else None
    accept, weight = fit.trained_gate(residual, fit.log_price("validation") - price, copies)
    words = Words(output(accept, x), np.exp(output(fit.folds.scale, x)), blend.error.expected_error(x, price))
    ranks = Ranks.among(words, blend.error_share, OWN_SHARE[kind])
    model = PricingModel(fit.folds.networks, accept, fit.folds.scale, Beside(blend, ranks))
    return Fitted(model, weight, blend_id, 0 if copies is None else len(copies.residual), residual)


def spoilt(fit: Fit, residual: np.ndarray) -> Copies | None:
    """Worse copies of training photos, each priced by the fold network that did not see its item.

    Args:
        fit: what is trained.
        residual: errors of the served price on training rows, unseen, in ln units. The copies' errors are brought to
            their scale: the fold networks alone are further off than the blend.
    """
    found = training_copies(fit.dataset, fit.variant.features, fit.variant.split_kind, fit.session.log)
    if found is None:
        return None
    numbers, x = found
    train, networks = fit.numbers("train"), fit.folds.networks
    fold = fold_of_group(fit.dataset.group[train], len(networks), fit.variant.seed)[np.searchsorted(train, numbers)]
    errors = np.zeros(len(numbers))
    for k, network in enumerate(networks):
        errors[fold == k] = fit.dataset.log_price[numbers[fold == k]] - output(network, x.where(fold == k))
    scale = np.sqrt(np.square(residual).mean() / np.square(fit.folds.residual).mean())
    return Copies(x, scale * errors)


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
        session = Session(log, models.resume_folder(fold_id))
        folds = train_folds(
            (x.rows(train), dataset.log_price[train]),
            (x.rows(validation), dataset.log_price[validation]),
            dataset.group[train],
            recipe.pricing,
            variant.seed,
            session,
        )
        named = {f"fold{k:03}": network for k, network in enumerate(folds.networks)}
        residuals = {"residual": folds.residual, "held_out_residual": folds.held_out_residual}
        card = shared_card("folds", dataset, variant) | {CURVES: described(session)}
        return Contents(card, arrays={STATE: state_of(named | {"scale": folds.scale}), RESIDUALS: residuals})

    models.make(fold_id, fill)
    networks = networks_of(models.arrays(fold_id, STATE))
    scale = networks.pop("scale")
    curves = models.card(fold_id).get(CURVES, {})
    return FoldNetworks(list(networks.values()), **models.arrays(fold_id, RESIDUALS), scale=scale, curves=curves)


def described(session: Session) -> dict[str, dict[str, Any]]:
    """How training went, by network."""
    return {name: curve.described() for name, curve in session.curves.items()}


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
        error = Comparables.among(
            fit.rows("train"), fit.log_price("train"), group, kernel.error_scale, fit.variant.seed
        )
        made = Blend(kernel.machine, kernel.scale, fit.trees.boosters, error, weights).contents()
        return replace(made, card=shared_card("blend", fit.dataset, fit.variant))

    fit.dataset.artefacts.models.make(blend_id, fill)
    return blend_id, residual
