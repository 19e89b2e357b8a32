"""Price models: fitted, stored by id and loaded again; and predictions of models and baselines alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from vps_ml.artefacts import Artefacts, Contents, identity
from vps_ml.features.dataset import CODE_VERSION, PricingDataset
from vps_ml.pricing.baselines import BASELINES
from vps_ml.pricing.calibration import Calibration, Judgement, calibrated
from vps_ml.pricing.learners import (
    MARGIN_OF_CONSTRAINT_WEIGHT,
    FoldNetworks,
    Objective,
    constraint_objective,
    gate,
    train_alone,
    train_folds,
    train_jointly,
)
from vps_ml.pricing.networks import (
    Examples,
    PricingModel,
    model_from_state,
    model_state,
    networks_of,
    state_of,
)
from vps_ml.pricing.variants import Variant
from vps_ml.training_loop import Session

STATE = "state"
"""Name of the weights among a model's arrays."""
RESIDUALS = "residual"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Fit:
    """What an objective's training takes."""

    dataset: PricingDataset
    variant: Variant
    folds: FoldNetworks
    loss: Objective
    session: Session

    def examples(self, role: str, target: np.ndarray) -> Examples:
        """The rows of a role with what is predicted from them, `target` being in their order."""
        _, x = self.dataset.matrix(self.variant.features, self.variant.split_kind)
        return Examples.of(x.rows(self.dataset.role(self.variant.split_kind, role)), target)

    def prices(self, role: str) -> Examples:
        """The rows of a role with their log prices."""
        return self.examples(role, self.dataset.log_price[self.dataset.role(self.variant.split_kind, role)])


def fit_jointly(fit: Fit) -> PricingModel:
    """The paper's objective: f_reg and f_cls together, on in-sample errors."""
    recipe, variant = fit.dataset.recipe.pricing, fit.variant
    train, validation = fit.prices("train"), fit.prices("validation")
    regressor, accept = train_jointly(train, validation, fit.loss, recipe, variant.warm_up, variant.seed, fit.session)
    return PricingModel([regressor], accept, fit.folds.scale)


def fit_cross_fitted(fit: Fit) -> PricingModel:
    """The fold regressors' mean, and a gate that is trained on their errors on items that they did not see."""
    recipe = fit.dataset.recipe.pricing
    errors = fit.examples("train", np.square(fit.folds.residual))
    validation = fit.examples("validation", np.square(fit.folds.held_out_residual))
    learner = gate(errors, fit.loss, recipe)
    accept = train_alone(learner, errors, validation, recipe, fit.variant.seed, fit.session)
    return PricingModel(fit.folds.networks, accept, fit.folds.scale)


OBJECTIVES: Mapping[str, Callable[[Fit], PricingModel]] = {"paper": fit_jointly, "cross_fitted": fit_cross_fitted}


def check_registered(variants: Sequence[Variant]) -> None:
    """Refuse variants whose objective or baseline is not registered, before anything is trained.

    Raises:
        ValueError: a name is neither in `OBJECTIVES` nor, for a baseline, in `BASELINES`.
    """
    for variant in variants:
        registry: Mapping[str, object] = BASELINES if variant.constraint_kind == "baseline" else OBJECTIVES
        if variant.objective not in registry:
            kind = "baseline" if variant.constraint_kind == "baseline" else "objective"
            raise ValueError(f"no {kind} is called {variant.objective!r}; there are {', '.join(registry)}")


def fit_variant(dataset: PricingDataset, variant: Variant, log: Log) -> str | None:
    """Fit the variant unless its artefact exists; the artefact's id, None for a baseline that keeps nothing.

    Raises:
        ValueError: its objective or baseline is not registered.
    """
    check_registered([variant])
    if variant.constraint_kind == "baseline":
        return BASELINES[variant.objective].fit(dataset, variant, log)
    return fit_model(dataset, variant, log)


def fit_model(dataset: PricingDataset, variant: Variant, log: Log) -> str:
    """Train a price model unless its artefact exists; its id.

    Trained on the split's training rows; epochs, threshold and price range are set on its validation rows; its test
    rows are not read.
    """
    models, recipe = dataset.artefacts.models, dataset.recipe
    model_id = identity("pricing_model", CODE_VERSION, dataset.data_id, asdict(variant), recipe.described())

    def fill() -> Contents:
        folds = fold_networks(dataset, variant, log)
        mean_squared_error = float(np.square(folds.residual).mean())
        loss = constraint_objective(
            variant.constraint_kind, variant.constraint_value, recipe.pricing, mean_squared_error
        )
        session = Session(log, models.resume_folder(model_id))
        model = OBJECTIVES[variant.objective](Fit(dataset, variant, folds, loss, session))
        log(f"{variant.constraint_kind} {variant.constraint_value} {variant.objective} {variant.features} trained")
        card = model_card(dataset, variant, model) | {
            "model_id": model_id,
            "constraint_weight": MARGIN_OF_CONSTRAINT_WEIGHT * mean_squared_error,
        }
        return Contents(card, arrays={STATE: model_state(model)})

    return dataset.artefacts.make_usable(model_id, fill)


def model_card(dataset: PricingDataset, variant: Variant, model: PricingModel) -> dict[str, Any]:
    """What a trained model was trained on and with, and its calibration."""
    train, validation = (dataset.role(variant.split_kind, role) for role in ("train", "validation"))
    map_id, x = dataset.matrix(variant.features, variant.split_kind)
    judged = model.judge(x.rows(validation))
    level = dataset.recipe.range_level
    days = dataset.rows["listed_on"].gather(train)
    return {
        "kind": "pricing_model",
        **asdict(variant),
        "feature_map_id": map_id,
        "embedding_id": dataset.embedding_id,
        "roles_id": dataset.roles_id(),
        "calibration": asdict(calibrated(judged, dataset.log_price[validation], variant.nominal_coverage, level)),
        "trained_on": len(train),
        "calibrated_on": len(validation),
        "first_listed_on": days.min(),
        "last_listed_on": days.max(),
        "recipe": dataset.recipe.described(),
        "code_version": CODE_VERSION,
    }


def fold_networks(dataset: PricingDataset, variant: Variant, log: Log) -> FoldNetworks:
    """The K regressors of these features, split and seed: trained for the first variant that needs them, then read."""
    models, recipe = dataset.artefacts.models, dataset.recipe
    key = (variant.features, variant.split_kind, variant.seed)
    fold_id = identity("folds", CODE_VERSION, dataset.data_id, key, recipe.described())

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
        card = {"kind": "folds", "features": variant.features, "split_kind": variant.split_kind}
        return Contents(card, arrays={STATE: state_of(named | {"scale": folds.scale}), RESIDUALS: residuals})

    models.make(fold_id, fill)
    networks = networks_of(models.arrays(fold_id, STATE))
    scale = networks.pop("scale")
    return FoldNetworks(list(networks.values()), **models.arrays(fold_id, RESIDUALS), scale=scale)


def load_model(artefacts: Artefacts, model_id: str) -> tuple[PricingModel, Calibration, dict[str, Any]]:
    """(the model, its calibration, its card)."""
    card = artefacts.models.card(model_id)
    model = model_from_state(artefacts.models.arrays(model_id, STATE))
    return model, Calibration(**card["calibration"]), card


class Predictions:
    """Predictions of models and baselines for a dataset's rows.

    A baseline is read at several coverages: its judgement of some rows is computed once.
    """

    def __init__(self, dataset: PricingDataset) -> None:
        self.dataset = dataset
        self._judged: dict[tuple[str, str | None, str, bytes], Judgement] = {}

    def of(self, variant: Variant, model_id: str | None, rows: np.ndarray) -> pl.DataFrame:
        """A variant's predictions for the rows with these numbers.

        Args:
            variant: the model or baseline.
            model_id: its artefact; None for a baseline that keeps nothing.
            rows: numbers of test rows of its split.
        """
        dataset = self.dataset
        if variant.constraint_kind == "baseline":
            validation = dataset.role(variant.split_kind, "validation")
            on_validation = self.baseline(variant, model_id, validation)
            level = dataset.recipe.range_level
            calibration = calibrated(on_validation, dataset.log_price[validation], variant.nominal_coverage, level)
            judged = self.baseline(variant, model_id, rows)
        else:
            assert model_id is not None, "a price model has an artefact"
            model, calibration, card = load_model(dataset.artefacts, model_id)
            judged = model.judge(dataset.matrix_of(card).rows(rows))
        qualification = calibration.qualification(judged)
        low, high = calibration.log_range(judged)
        return pl.DataFrame(
            {
                "listing_id": dataset.listing_id[rows],
                "log_price": dataset.log_price[rows],
                "predicted_log_price": judged.log_price,
                "low_log_price": low,
                "high_log_price": high,
                "gate_logit": judged.gate_logit,
                "qualification": qualification,
                "qualified": qualification >= 0.5,
            }
        )

    def baseline(self, variant: Variant, model_id: str | None, rows: np.ndarray) -> Judgement:
        """A baseline's judgement of the rows with these numbers."""
        key = variant.objective, model_id, variant.split_kind, rows.tobytes()
        if key not in self._judged:
            self._judged[key] = BASELINES[variant.objective].judge(self.dataset, variant, model_id, rows)
        return self._judged[key]
