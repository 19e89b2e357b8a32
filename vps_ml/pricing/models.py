"""Model variants: which objective on which features and split; fitted, saved by id, loaded again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from vps_ml.artefacts import artefact, card, identity, resume_folder
from vps_ml.features.dataset import CODE_VERSION, PricingTable
from vps_ml.pricing import baselines
from vps_ml.pricing.calibration import Calibration, Judgement, calibrated

if TYPE_CHECKING:
    from vps_ml.features.matrix import FeatureMatrix
    from vps_ml.pricing.learners import FoldNetworks
    from vps_ml.pricing.networks import PricingModel

COVERAGE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7)
ERROR_TOLERANCES = (0.3, 0.4, 0.5, 0.6, 0.7)
TREES = ("price.txt", "error.txt")
"""Files of the boosted trees: LightGBM's own text."""
GATED_BASELINES = ("boosted_trees", "gaussian_network", "deep_ensemble")
MEMBERS = 5
"""Of the deep ensemble, as its authors used."""
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

    Trained on the split's training rows; epochs, threshold and price range are set on its validation rows; nothing
    of its test rows is read.
    """
    recipe = table.recipe.pricing
    model_id = identity("pricing_model", CODE_VERSION, table.data_id, asdict(variant), table.recipe.described())

    def make(folder: Path) -> dict:
        from safetensors.torch import save_file

        from vps_ml.pricing import learners as training
        from vps_ml.pricing import loop
        from vps_ml.pricing.networks import PricingModel, model_state

        folds = fold_networks(table, variant, log)
        map_id, x = table.matrix(variant.features, variant.split_kind)
        train, validation = (table.role(variant.split_kind, role) for role in ("train", "validation"))
        y = table.log_price
        mean_squared_error = float(np.square(folds.residual).mean())
        objective = training.constraint_objective(
            variant.constraint_kind, variant.constraint_value, recipe, mean_squared_error
        )
        session = loop.Session(log, resume_folder(table.models, model_id))
        if variant.objective == "paper":
            prices, held_out = (loop.Examples.of(x.rows(part), y[part]) for part in (train, validation))
            network, gate = training.train_jointly(
                prices, held_out, objective, recipe, variant.warm_up, variant.seed, session
            )
            regressors = [network]
        else:
            errors = loop.Examples.of(x.rows(train), np.square(folds.residual))
            held_out = loop.Examples.of(x.rows(validation), np.square(folds.held_out_residual))
            learner = training.gate(errors, objective, recipe)
            gate = training.train_alone(learner, errors, held_out, recipe, variant.seed, session)
            regressors = folds.networks
        model = PricingModel(regressors, gate, folds.scale)
        judged = model.judge(x.rows(validation))
        calibration = calibrated(judged, y[validation], variant.nominal_coverage, table.recipe.range_level)
        save_file(model_state(model), folder / "state.safetensors")
        log(f"{variant.constraint_kind} {variant.constraint_value} {variant.objective} {variant.features} trained")
        days = table.rows["listed_on"].gather(train)
        return {
            "kind": "pricing_model",
            "model_id": model_id,
            **asdict(variant),
            "feature_map_id": map_id,
            "embedding_id": table.embedding_id,
            "roles_id": table.roles_id(),
            "calibration": asdict(calibration),
            "constraint_weight": training.MARGIN_OF_CONSTRAINT_WEIGHT * mean_squared_error,
            "trained_on": len(train),
            "calibrated_on": len(validation),
            "first_listed_on": days.min(),
            "last_listed_on": days.max(),
            "recipe": table.recipe.described(),
            "code_version": CODE_VERSION,
        }

    return artefact(table.models, model_id, make)


def fold_networks(table: PricingTable, variant: Variant, log: Log) -> "FoldNetworks":
    """The K regressors of these features, split and seed: trained by whoever asks first, then read."""
    from safetensors.torch import load_file, save_file

    from vps_ml.pricing import learners as training
    from vps_ml.pricing import loop
    from vps_ml.pricing.networks import networks_of, state_of

    key = (variant.features, variant.split_kind, variant.seed)
    fold_id = identity("folds", CODE_VERSION, table.data_id, key, table.recipe.described())

    def make(folder: Path) -> dict:
        log(f"{table.recipe.pricing.folds} fold networks on {variant.features}, {variant.split_kind} split")
        _, x = table.matrix(variant.features, variant.split_kind)
        train, validation = (table.role(variant.split_kind, role) for role in ("train", "validation"))
        folds = training.train_folds(
            (x.rows(train), table.log_price[train]),
            (x.rows(validation), table.log_price[validation]),
            table.group[train],
            table.recipe.pricing,
            variant.seed,
            loop.Session(log, resume_folder(table.models, fold_id)),
        )
        named = {f"fold{k}": network for k, network in enumerate(folds.networks)}
        save_file(state_of(named | {"scale": folds.scale}), folder / "state.safetensors")
        residuals = {"residual": folds.residual, "held_out_residual": folds.held_out_residual}
        save_arrays(residuals, folder / "residual.safetensors")
        return {"kind": "folds", "features": variant.features, "split_kind": variant.split_kind}

    folder = artefact(table.models, fold_id, make)
    networks = networks_of(load_file(folder / "state.safetensors"))
    scale = networks.pop("scale")
    residuals = load_arrays(folder / "residual.safetensors")
    return training.FoldNetworks(list(networks.values()), **residuals, scale=scale)


def load_variant(folder: Path) -> "tuple[PricingModel, Calibration, dict]":
    """(the model, its calibration, its card) of a pricing model's folder.

    Raises:
        ValueError: an older version of this code trained it.
    """
    from safetensors.torch import load_file

    from vps_ml.pricing.networks import model_from_state

    about = card(folder)
    if "roles_id" not in about:
        raise ValueError(f"model {folder.name} was trained by an older version: `vps run` trains it anew")
    state = load_file(folder / "state.safetensors")
    return model_from_state(state), Calibration(**about["calibration"]), about


def fit_baseline(table: PricingTable, variant: Variant, log: Log) -> Path | None:
    """What the baseline learns, where it is not there yet: its folder; None for the category's median."""
    if variant.objective not in GATED_BASELINES:
        return None
    kind = (
        "boosted_trees" if variant.objective == "boosted_trees" else "deep_ensemble"
    )  # a Gaussian network is one of it
    learn = learn_trees if kind == "boosted_trees" else learn_gaussians
    parts = variant.split_kind, variant.seed, table.recipe.described()
    baseline_id = identity(kind, CODE_VERSION, table.data_id, *parts)

    def make(folder: Path) -> dict:
        map_id, x = table.matrix(variant.features, variant.split_kind)
        log(f"{kind.replace('_', ' ')} on the {variant.split_kind} split")
        learn(table, variant, x, folder, log, resume_folder(table.models, baseline_id))
        about = {"feature_map_id": map_id, "embedding_id": table.embedding_id, "roles_id": table.roles_id()}
        return {"kind": kind, "model_id": baseline_id, "features": variant.features, **about}

    return artefact(table.models, baseline_id, make)


def learn_trees(
    table: PricingTable, variant: Variant, x: "FeatureMatrix", folder: Path, log: Log, resume: Path
) -> None:
    """Boosted trees and their out-of-fold error model; minutes at most, so they keep no checkpoints."""
    train, held_out = (table.role(variant.split_kind, role) for role in ("train", "validation"))
    learnt, stop = ((x.rows(rows).array(), table.log_price[rows]) for rows in (train, held_out))
    fitted = baselines.boosted_trees(learnt, stop, table.group[train], variant.seed)
    for name, text in zip(TREES, fitted, strict=True):
        (folder / name).write_text(text)


def learn_gaussians(
    table: PricingTable, variant: Variant, x: "FeatureMatrix", folder: Path, log: Log, resume: Path
) -> None:
    """The members of a deep ensemble; the first alone is the Gaussian-likelihood network."""
    from safetensors.torch import save_file

    from vps_ml.pricing import learners as training
    from vps_ml.pricing import loop
    from vps_ml.pricing.networks import state_of

    recipe = table.recipe.pricing
    rows = (table.role(variant.split_kind, role) for role in ("train", "validation"))
    train, held_out = (loop.Examples.of(x.rows(part), table.log_price[part]) for part in rows)
    members = {}
    session = loop.Session(log, resume)
    for k in range(MEMBERS):
        learner = training.gaussian(f"member {k + 1} of {MEMBERS}", train, recipe)
        seed = variant.seed * 1000 + k
        members[f"member{k}"] = training.train_alone(learner, train, held_out, recipe, seed, session)
    save_file(state_of(members), folder / "state.safetensors")


def predicted(table: PricingTable, variant: Variant, folder: Path | None, rows: np.ndarray) -> pl.DataFrame:
    """What a variant says of the test rows with these numbers; without a folder it is the category median."""
    if variant.constraint_kind == "baseline":
        judge = baseline_judge(table, variant, folder)
        validation, level = table.role(variant.split_kind, "validation"), table.recipe.range_level
        calibration = calibrated(judge(validation), table.log_price[validation], variant.nominal_coverage, level)
        judged = judge(rows)
    else:
        assert folder is not None, "a price model has a folder"
        model, calibration, about = load_variant(folder)
        judged = model.judge(table.seen_by(about).rows(rows))
    qualification = calibration.qualification(judged)
    low, high = calibration.log_range(judged)
    return pl.DataFrame(
        {
            "listing_id": table.listing_id[rows],
            "log_price": table.log_price[rows],
            "predicted_log_price": judged.log_price,
            "low_log_price": low,
            "high_log_price": high,
            "gate_logit": judged.gate_logit,
            "qualification": qualification,
            "qualified": qualification >= 0.5,
        }
    )


def baseline_judge(table: PricingTable, variant: Variant, folder: Path | None) -> Callable[[np.ndarray], Judgement]:
    """What a baseline says of the rows with these numbers; said once, at however many coverages it is then read."""
    key = folder.name if folder else f"category_median {variant.split_kind}", variant.objective
    if key not in table.judges:
        table.judges[key] = said_once(new_baseline_judge(table, variant, folder))
    return table.judges[key]


def said_once(judge: Callable[[np.ndarray], Judgement]) -> Callable[[np.ndarray], Judgement]:
    """The same judge, who remembers."""
    said: dict[bytes, Judgement] = {}

    def remembering(rows: np.ndarray) -> Judgement:
        key = rows.tobytes()
        if key not in said:
            said[key] = judge(rows)
        return said[key]

    return remembering


def new_baseline_judge(table: PricingTable, variant: Variant, folder: Path | None) -> Callable[[np.ndarray], Judgement]:
    if folder is None:
        train, category = table.role(variant.split_kind, "train"), table.rows["category"].to_numpy()
        return lambda rows: baselines.judge_median(table.log_price[train], category[train], category[rows])
    x = table.seen_by(card(folder))
    if variant.objective == "boosted_trees":
        price, error = ((folder / name).read_text() for name in TREES)
        return lambda rows: baselines.judge_trees(price, error, x.rows(rows).array())
    from safetensors.torch import load_file

    from vps_ml.pricing.networks import networks_of

    members = list(networks_of(load_file(folder / "state.safetensors")).values())
    used = members[:1] if variant.objective == "gaussian_network" else members
    return lambda rows: baselines.judge_gaussians(used, x.rows(rows))
