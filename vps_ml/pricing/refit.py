"""The model that is served: the judged one, fitted again on all that has been sold."""

from dataclasses import dataclass, replace

import numpy as np

from vps_ml.cards import identity
from vps_ml.features.dataset import CODE_VERSION, PricingDataset
from vps_ml.features.roles import SERVED_SPLIT
from vps_ml.pricing.calibration import Calibration, Judgement
from vps_ml.pricing.fitting import Log
from vps_ml.pricing.models import fit_variant, load_model
from vps_ml.pricing.variants import variant_of

FEWEST_SHARED = 20
"""Listings; on fewer nothing can be said of how the two models differ, and the judged one prices."""
FEWEST_CALIBRATING = 100
"""Rows; on fewer a refit's threshold and range would be worse founded than those of the model that was judged."""
MOST_MOVED = 0.75
"""Of the judged model's own error: how far the refit's prices may be from its prices, on average."""
MOST_COVERAGE_MOVED = 0.15
"""How much more or less of the same listings it may qualify, and chance (two standard errors)."""


@dataclass(frozen=True)
class Refit:
    """A model that was fitted again, and how it behaves beside the one that was judged."""

    model_id: str | None
    """None if there are too few listings for one."""
    shared: int
    """Test listings that the judged model has not learnt from, and that only stopped and calibrated the refit."""
    moved: float
    """Mean |difference| of their predicted log prices on these; NaN of too few."""
    judged_male: float
    refit_male: float
    judged_coverage: float
    refit_coverage: float
    error_of_difference: float
    """Standard error of the difference of the two MALEs: they are of the same listings."""

    @property
    def alike(self) -> bool:
        """Whether it behaves like the judged model, within the stated bounds; on too few listings nobody knows."""
        if self.model_id is None or self.shared < FEWEST_SHARED:
            return False
        share = self.judged_coverage
        chance = 2 * float(np.sqrt(max(share * (1 - share), 0.01) / self.shared))
        close = abs(self.refit_coverage - share) <= MOST_COVERAGE_MOVED + chance
        surely_worse = self.refit_male - self.judged_male > 2 * self.error_of_difference
        return close and self.moved <= MOST_MOVED * self.judged_male and not surely_worse

    @property
    def evidence(self) -> str:
        """The figures in one line."""
        if self.model_id is None or self.shared < FEWEST_SHARED:
            if self.shared >= FEWEST_SHARED:
                return f"no refit: under {FEWEST_CALIBRATING} newer validation listings to calibrate one by"
            return f"no refit: of {FEWEST_SHARED} test listings that it takes to compare one on there are {self.shared}"
        figures = (
            f"on {self.shared} test listings that it did not train on its prices differ by {self.moved:.3f} (at most "
            f"{MOST_MOVED:.0%} of the error), MALE {self.refit_male:.4f} against {self.judged_male:.4f}, coverage "
            f"{self.refit_coverage:.0%} against {self.judged_coverage:.0%}"
        )
        if self.alike:
            return f"served as {self.model_id}, fitted on nine tenths of all sold listings: {figures}"
        return f"not served as its refit {self.model_id}, which behaves differently, or worse: {figures}"


def can_refit(dataset: PricingDataset, judged_id: str) -> bool:
    """Whether a model can be fitted again as it was: on its backbones' features, by the same recipe and code.

    Another recipe's or version's refit would be another model, which nobody has judged.
    """
    card = dataset.artefacts.models.card(judged_id)
    own_features = set(dataset.rows["embedding_id"]) == {card["embedding_id"]}
    if card.get("text_id") is not None:
        own_features = own_features and set(dataset.rows["text_id"]) == {card["text_id"]}
    then, now = (identity("recipe", recipe) for recipe in (card["recipe"], dataset.recipe.described()))
    return own_features and card["code_version"] == CODE_VERSION and then == now


def refitted(dataset: PricingDataset, judged_id: str, log: Log) -> Refit:
    """Fit the judged model's variant on the split that serves, and hold the two against each other.

    The judged model has not seen the newest days, on which it was judged. The refit learns from nine tenths of all sold
    listings up to today; the others stop its training and calibrate it.
    """
    models = dataset.artefacts.models
    card = models.card(judged_id)
    test = dataset.unseen_test(card["split_kind"], [card])
    shared = np.intersect1d(test, dataset.role(SERVED_SPLIT, "validation"))
    nothing = float("nan")
    if len(shared) < FEWEST_SHARED or len(dataset.calibrating(SERVED_SPLIT)) < FEWEST_CALIBRATING:
        return Refit(None, len(shared), *[nothing] * 6)
    refit_id = fit_variant(dataset, replace(variant_of(card), split_kind=SERVED_SPLIT), log)
    before, after = (judged(dataset, model_id, shared) for model_id in (judged_id, refit_id))
    errors = [np.abs(j.log_price - dataset.log_price[shared]) for j, _ in (before, after)]
    chance = (errors[1] - errors[0]).std() / np.sqrt(len(shared))
    coverage = [(calibration.qualification(j) >= 0.5).mean() for j, calibration in (before, after)]
    moved = np.abs(before[0].log_price - after[0].log_price).mean()
    males = [error.mean() for error in errors]
    return Refit(refit_id, len(shared), *map(float, (moved, *males, *coverage, chance)))


def judged(dataset: PricingDataset, model_id: str, rows: np.ndarray) -> tuple[Judgement, Calibration]:
    """A model's judgement of some rows, and its calibration."""
    model, calibration, card = load_model(dataset.artefacts, model_id)
    return model.judge(dataset.matrix_of(card, rows)), calibration
