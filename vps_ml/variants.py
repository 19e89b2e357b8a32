"""Model variants: which objective on which features and split; fitted, saved by id, loaded again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from vps_ml import baselines
from vps_ml.calibration import logit_shift, price_range
from vps_ml.pricing_table import CODE_VERSION, PricingTable
from vps_ml.store import artefact, card, identity

if TYPE_CHECKING:
    import vps_ml.pricing

COVERAGE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7)
ERROR_TOLERANCES = (0.3, 0.4, 0.5, 0.6, 0.7)
Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one model from another on the same rows."""

    constraint_kind: str
    """`percentile`, `threshold` or `baseline`."""
    constraint_value: float
    """δ, ε, or the coverage at which a baseline is read."""
    objective: str
    """`paper` (in-sample errors, jointly), `cross_fitted` (out-of-fold errors), or the baseline's name."""
    features: str = "MSTFE"
    warm_up: bool = True
    split_kind: str = "group"
    seed: int = 0

    @property
    def nominal_coverage(self) -> float | None:
        """The coverage that calibration aims at; None for threshold models, whose gate stays at 0.5."""
        return None if self.constraint_kind == "threshold" else self.constraint_value


def fit_variant(table: PricingTable, variant: Variant, log: Log) -> Path:
    """Train the variant where its artefact is not there yet; its folder.

    Trained on the split's training rows; threshold, price range: calibrated on its validation rows; nothing of
    its test rows is read.
    """
    recipe = table.recipe.pricing
    model_id = identity("pricing_model", CODE_VERSION, table.data_id, asdict(variant), table.recipe.described())

    def make(folder: Path) -> dict:
        from safetensors.torch import save_file

        from vps_ml import pricing

        map_id, x = table.matrix(variant.features, variant.split_kind)
        train, validation = (table.role(variant.split_kind, role) for role in ("train", "validation"))
        y = table.log_price
        folds = fold_networks(table, variant, log)
        mean_squared_error = float(np.square(folds.residual).mean())
        objective = pricing.constraint_objective(
            variant.constraint_kind, variant.constraint_value, recipe, mean_squared_error
        )
        if variant.objective == "paper":
            inputs = pricing.on_device(x[train]), pricing.on_device(y[train])
            network, gate = pricing.train_jointly(*inputs, objective, recipe, variant.warm_up, variant.seed)
            regressors = [network]
        else:
            squared = pricing.on_device(np.square(folds.residual))
            gate = pricing.train_gate(pricing.on_device(x[train]), squared, objective, recipe, variant.seed)
            regressors = folds.networks
        model = pricing.PricingModel(regressors, gate)
        model = calibrated(model, x[validation], y[validation], variant.nominal_coverage, table.recipe.range_level)
        save_file(pricing.model_state(model), folder / "state.safetensors")
        log(f"{variant.constraint_kind} {variant.constraint_value} {variant.objective} {variant.features} trained")
        days = table.rows["listed_on"].gather(train)
        return {
            "kind": "pricing_model",
            "model_id": model_id,
            **asdict(variant),
            "feature_map_id": map_id,
            "embedding_id": table.embedding_id,
            "logit_shift": model.logit_shift,
            "range_offsets": model.range_offsets,
            "constraint_weight": pricing.MARGIN_OF_CONSTRAINT_WEIGHT * mean_squared_error,
            "trained_on": len(train),
            "calibrated_on": len(validation),
            "first_listed_on": days.min(),
            "last_listed_on": days.max(),
            "recipe": table.recipe.described(),
            "code_version": CODE_VERSION,
        }

    return artefact(table.models, model_id, make)


def fold_networks(table: PricingTable, variant: Variant, log: Log) -> "vps_ml.pricing.FoldNetworks":
    """The K regressors of these features, split and seed: trained by whoever asks first, then read."""
    from safetensors.torch import load_file, save_file

    from vps_ml import pricing

    key = (variant.features, variant.split_kind, variant.seed)
    fold_id = identity("folds", CODE_VERSION, table.data_id, key, table.recipe.described())

    def make(folder: Path) -> dict:
        log(f"{table.recipe.pricing.folds} fold networks on {variant.features}, {variant.split_kind} split")
        _, x = table.matrix(variant.features, variant.split_kind)
        train = table.role(variant.split_kind, "train")
        args = x[train], table.log_price[train], table.group[train], table.recipe.pricing, variant.seed
        folds = pricing.train_folds(*args)
        named = {f"fold{k}": network for k, network in enumerate(folds.networks)}
        save_file(pricing.state_of(named), folder / "state.safetensors")
        save_arrays({"residual": folds.residual}, folder / "residual.safetensors")
        return {"kind": "folds", "features": variant.features, "split_kind": variant.split_kind}

    folder = artefact(table.models, fold_id, make)
    networks = pricing.networks_of(load_file(folder / "state.safetensors"))
    return pricing.FoldNetworks(list(networks.values()), load_arrays(folder / "residual.safetensors")["residual"])


def calibrated(
    model: "vps_ml.pricing.PricingModel", x: np.ndarray, y: np.ndarray, coverage: float | None, level: float
) -> "vps_ml.pricing.PricingModel":
    """The model with its gate's threshold and its range set on validation rows.

    The range is of accepted rows alone: calibrated on all, it would be too wide for those (findings, 10).
    """
    logit = model.gate_logit(x)
    shift = 0.0 if coverage is None else logit_shift(logit, coverage)
    accepted = logit >= shift
    residual = (y - model.log_price(x))[accepted if accepted.any() else slice(None)]
    return replace(model, logit_shift=shift, range_offsets=price_range(residual, level))


def load_variant(folder: Path) -> "tuple[vps_ml.pricing.PricingModel, dict]":
    """(the model, its card) of a pricing model's folder."""
    from safetensors.torch import load_file

    from vps_ml.pricing import model_from_state

    about = card(folder)
    state = load_file(folder / "state.safetensors")
    return model_from_state(state, about["logit_shift"], tuple(about["range_offsets"])), about


def fit_baselines(table: PricingTable, split_kind: str, seed: int, log: Log) -> Path:
    """The boosted trees and their error model on MSTFE features, where they are not there yet; their folder."""
    parts = table.data_id, split_kind, seed, table.recipe.described()
    baseline_id = identity("boosted_trees", CODE_VERSION, *parts)

    def make(folder: Path) -> dict:
        log(f"boosted trees on the {split_kind} split, {table.recipe.pricing.folds} folds for the error model")
        map_id, x = table.matrix("MSTFE", split_kind)
        train = table.role(split_kind, "train")
        price, error = baselines.boosted_trees(
            x[train], table.log_price[train], table.group[train], table.recipe.pricing.folds, seed
        )
        (folder / "price.txt").write_text(price)
        (folder / "error.txt").write_text(error)
        return {
            "kind": "boosted_trees",
            "model_id": baseline_id,
            "features": "MSTFE",
            "feature_map_id": map_id,
            "embedding_id": table.embedding_id,
        }

    return artefact(table.models, baseline_id, make)


def predicted(table: PricingTable, variant: Variant, folder: Path | None) -> pl.DataFrame:
    """What a variant says of its split's test rows; without a folder it is the category median."""
    test = table.role(variant.split_kind, "test")
    if folder is None or variant.constraint_kind == "baseline":
        log_price, logit, shift = baseline_output(table, variant, folder, test)
    else:
        model, about = load_variant(folder)
        x = table.seen_by(about)
        log_price, logit, shift = model.log_price(x[test]), model.gate_logit(x[test]), model.logit_shift
    qualification = 1 / (1 + np.exp(-(logit - shift)))
    return pl.DataFrame(
        {
            "listing_id": table.listing_id[test],
            "log_price": table.log_price[test],
            "predicted_log_price": log_price,
            "gate_logit": logit,
            "qualification": qualification,
            "qualified": qualification >= 0.5,
        }
    )


def baseline_output(
    table: PricingTable, variant: Variant, folder: Path | None, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """(predicted log price, gate logit, calibrated shift) of a baseline on its split's test rows."""
    train, validation = (table.role(variant.split_kind, role) for role in ("train", "validation"))
    if folder is None:
        category = table.rows["category"].to_numpy()
        price = baselines.category_median(table.log_price[train], category[train], category[test])
        return price, np.zeros(len(test)), 0.0
    x = table.seen_by(card(folder))
    price_text, error_text = ((folder / name).read_text() for name in ("price.txt", "error.txt"))
    judged = baselines.predict_trees(price_text, error_text, x[test])
    calibration = -baselines.predict_trees(price_text, error_text, x[validation]).expected_error
    return judged.log_price, -judged.expected_error, logit_shift(calibration, variant.constraint_value)
