"""Price models: fitted, stored by id and loaded again; and predictions of models and baselines alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from threading import Event
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.files import digest
from vps_ml.backbones.tasks import sees_words
from vps_ml.cards import Contents, identity
from vps_ml.features.dataset import CODE_VERSION, PricingDataset
from vps_ml.pricing.baselines import BASELINES
from vps_ml.pricing.blends import Beside, Blend, Priced, Ranks
from vps_ml.pricing.calibration import Calibration, Judgement, accepted_residuals, calibrated
from vps_ml.pricing.fitting import OBJECTIVES, STATE, Fit, Log
from vps_ml.pricing.learners import at_once
from vps_ml.pricing.networks import PricingModel, model_from_state, model_state, networks_of, output
from vps_ml.pricing.variants import CURVES, Variant
from vps_ml.threads import check_wanted, side_by_side, threads_for
from vps_ml.training_loop import Session

CALIBRATING = "calibrating"
"""Name of the array of a model's scaled residuals on accepted validation rows, from which any range can be read."""
OUT_OF_FOLD = "out_of_fold"
"""Name of the frame of a model's prices of the listings that it was trained on, by parts of it that had not seen them:
what it would have suggested for them."""
AT_WORK_BYTES = 256 << 20
"""Of a model that is fitted beside others: the boosters, the kernel machine and the comparables that it reads."""
RANKS = "ranks"
"""Name of the arrays that join the gates of a blended model."""


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


def fit_alike(
    dataset: PricingDataset, variants: Sequence[Variant], fit: Callable[[Variant, Event | None], None]
) -> None:
    """Fit variants of the same features, split and seed.

    Of those that are not there, the first of an objective makes what all of it have in common; the others, a small
    network each, are then fitted side by side (docs/adr/0034).
    """
    begun, others = set[str](), list[Variant]()
    for variant in variants:
        if variant.constraint_kind == "baseline" or dataset.artefacts.usable(model_id_of(dataset, variant)):
            fit(variant, None)
        elif variant.objective in begun:
            others.append(variant)
        else:
            fit(variant, None)
            begun.add(variant.objective)
    if not others:
        return
    _, x = dataset.matrix(variants[0].features, variants[0].split_kind)
    if at_once(x.width, dataset.recipe.pricing):
        side_by_side(fit, others, AT_WORK_BYTES + x.visual.nbytes + x.tabular.nbytes)
    else:
        for variant in others:
            fit(variant, None)


def fit_variant(dataset: PricingDataset, variant: Variant, log: Log, not_wanted: Event | None = None) -> str:
    """Fit the variant unless its artefact exists; the artefact's id.

    Raises:
        ValueError: its objective or baseline is not registered.
        NotWantedError: `not_wanted` was set meanwhile.
    """
    check_registered([variant])
    if variant.constraint_kind == "baseline":
        return BASELINES[variant.objective].fit(dataset, variant, log)
    return fit_model(dataset, variant, log, not_wanted)


def fit_model(dataset: PricingDataset, variant: Variant, log: Log, not_wanted: Event | None = None) -> str:
    """Train a price model unless its artefact exists; its id.

    Trained on the split's training rows; epochs, threshold and price range are set on its validation rows; its test
    rows are not read.
    """
    models, model_id = dataset.artefacts.models, model_id_of(dataset, variant)

    def fill() -> Contents:
        session = Session(log, models.resume_folder(model_id), not_wanted=not_wanted)
        fit = Fit(dataset, variant, session)
        fitted = OBJECTIVES[variant.objective](fit)
        check_wanted(not_wanted)
        kind, value, split = variant.constraint_kind, variant.constraint_value, variant.split_kind
        log(f"{kind} {value} {variant.objective} on {variant.features}, {split} split: trained")
        card, residuals = model_card(dataset, variant, fitted.model)
        card |= {"model_id": model_id, "constraint_weight": fitted.constraint_weight, CURVES: fit.curves}
        beside, arrays = fitted.model.beside, {STATE: model_state(fitted.model), CALIBRATING: {CALIBRATING: residuals}}
        if beside is not None:
            card |= {"blend_id": fitted.blend_id, "copies": fitted.copies}
            arrays[RANKS] = vars(beside.ranks)
        frames = {} if fitted.residual is None else {OUT_OF_FOLD: out_of_fold(dataset, variant, fitted.residual)}
        return Contents(card, arrays=arrays, frames=frames)

    return dataset.artefacts.make_usable(model_id, fill)


def model_id_of(dataset: PricingDataset, variant: Variant) -> str:
    """The id of a price model: what it is trained on, and how."""
    return identity("pricing_model", CODE_VERSION, dataset.data_id, asdict(variant), dataset.recipe.described())


def out_of_fold(dataset: PricingDataset, variant: Variant, residual: np.ndarray) -> pl.DataFrame:
    """The training rows' listings, and what is predicted for them by parts of the model that had not seen them."""
    train = dataset.role(variant.split_kind, "train")
    return pl.DataFrame(
        {"listing_id": dataset.listing_id[train], "predicted_log_price": dataset.log_price[train] - residual}
    )


def model_card(
    dataset: PricingDataset, variant: Variant, model: PricingModel
) -> tuple[dict[str, Any], Float[np.ndarray, " accepted"]]:
    """(what a model was trained on and with, and its calibration; the residuals that the range is read from)."""
    train, validation = dataset.role(variant.split_kind, "train"), dataset.calibrating(variant.split_kind)
    map_id, x = dataset.matrix(variant.features, variant.split_kind)
    judged = model.judge(x.rows(validation))
    level = dataset.recipe.range_level
    days = dataset.rows["listed_on"].gather(train)
    calibration = calibrated(judged, dataset.log_price[validation], variant.nominal_coverage, level)
    residuals = accepted_residuals(judged, dataset.log_price[validation], calibration.logit_shift)
    card = {
        "kind": "pricing_model",
        **asdict(variant),
        "feature_map_id": map_id,
        "embedding_id": dataset.embedding_id,
        "text_id": dataset.text_id if sees_words(variant.features) else None,
        "roles_id": dataset.roles_id(),
        "calibration": asdict(calibration),
        CALIBRATING: len(residuals),
        "trained_on": len(train),
        "calibrated_on": len(validation),
        "first_listed_on": days.min(),
        "last_listed_on": days.max(),
        "recipe": dataset.recipe.described(),
        "code_version": CODE_VERSION,
    }
    return card, residuals


def load_model(artefacts: Artefacts, model_id: str) -> tuple[PricingModel, Calibration, dict[str, Any]]:
    """(the model, its calibration, its card)."""
    card = artefacts.models.card(model_id)
    models, beside = artefacts.models, None
    if "blend_id" in card:
        beside = Beside(Blend.load(models, card["blend_id"]), Ranks(**models.arrays(model_id, RANKS)))
    model = model_from_state(models.arrays(model_id, STATE), beside)
    return model, Calibration(**card["calibration"]), card


class Predictions:
    """Predictions of models and baselines for a dataset's rows.

    A baseline is read at several coverages, and models of several δ and ε share all but their gates: what they have in
    common is computed once.
    """

    def __init__(self, dataset: PricingDataset) -> None:
        self.dataset = dataset
        self._judged: dict[tuple[str, str, bytes], Judgement] = {}
        self._priced: dict[tuple, Priced] = {}

    def of(self, variant: Variant, model_id: str, calibration: Calibration, rows: np.ndarray) -> pl.DataFrame:
        """A variant's predictions for the rows with these numbers, each by itself.

        Args:
            variant: the model or baseline.
            model_id: its artefact.
            calibration: with which it was trained.
            rows: numbers of test rows of its split.
        """
        dataset, judged = self.dataset, self.judged(variant, model_id, rows)
        qualification = calibration.qualification(judged)
        low, high = calibration.log_range(judged)
        return pl.DataFrame(
            {
                "listing_id": dataset.rows["listing_id"][rows],
                "log_price": dataset.log_price[rows],
                "predicted_log_price": judged.log_price,
                "low_log_price": low,
                "high_log_price": high,
                "gate_logit": judged.gate_logit,
                "qualification": qualification,
                "qualified": qualification >= 0.5,
            }
        )

    def calibration(self, variant: Variant, model_id: str) -> Calibration:
        """How a variant that was fitted on these rows is calibrated: on their validation rows."""
        dataset = self.dataset
        if variant.constraint_kind != "baseline":
            return Calibration(**dataset.artefacts.models.card(model_id)["calibration"])
        validation = dataset.calibrating(variant.split_kind)
        with threads_for(len(validation), dataset.recipe.pricing.features_seen):
            judged = self.judged(variant, model_id, validation)
        level = dataset.recipe.range_level
        return calibrated(judged, dataset.log_price[validation], variant.nominal_coverage, level)

    def judged(self, variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        """A variant's judgement of the rows with these numbers."""
        if variant.constraint_kind != "baseline":
            return self.model(model_id, rows)
        if not len(rows):
            return Judgement(*(np.empty(0) for _ in range(3)))
        key = variant.objective, model_id, rows.tobytes()
        if key not in self._judged:
            self._judged[key] = BASELINES[variant.objective].judge(self.dataset, variant, model_id, rows)
        return self._judged[key]

    def model(self, model_id: str, rows: np.ndarray) -> Judgement:
        """A model's judgement of the rows with these numbers, as `PricingModel.judge`."""
        artefacts = self.dataset.artefacts
        card, state = artefacts.models.card(model_id), artefacts.models.arrays(model_id, STATE)
        x = self.dataset.matrix_of(card, rows)
        gate, others = (
            {name: v for name, v in state.items() if name.startswith("gate.") == own} for own in (True, False)
        )
        key = card.get("blend_id"), card["feature_map_id"], tuple(map(digest, others.values())), rows.tobytes()
        if key not in self._priced:
            self._priced[key] = load_model(artefacts, model_id)[0].priced(x)
        ranks = Ranks(**artefacts.models.arrays(model_id, RANKS)) if "blend_id" in card else None
        return self._priced[key].judged(output(networks_of(gate)["gate"], x), ranks)
