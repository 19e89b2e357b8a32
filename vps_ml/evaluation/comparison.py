"""Champion against challenger: the same listings, the same coverage, and how much of the difference is chance."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from vps_ml.artefacts import Artefacts
from vps_ml.evaluation.resampling import Draws, Judged, male_at, numbered
from vps_ml.features.scaling import COLUMNS
from vps_ml.features.tabular import TABULAR, source_of

FEWEST = 50
"""Listings; on fewer no difference can be told from chance."""
MARGIN = 0.01
"""Share of the champion's error by which a challenger has to be better: a change of model has a cost."""
CHANCE = 0.05
"""Probability that noise alone promotes a challenger, over all the times that it is compared."""


@dataclass(frozen=True)
class Comparison:
    """Errors of a challenger and the champion on listings that neither has learnt from."""

    tested: int
    first_listed_on: str
    last_listed_on: str
    coverage: float
    """At which both are read: each accepts that share of the listings, its most qualified."""
    champion_male: float
    challenger_male: float
    low: float
    """2.5% quantile of the difference (challenger less champion) over the resamples, ln units."""
    high: float
    """97.5% quantile."""
    look: int
    """How often the challenger has been compared, this time included; the same listings again are one look."""
    upper_bound: float
    """The quantile with `chance_of(look)` above it: negative if so few resamples find the challenger no better."""

    @property
    def judged(self) -> int | None:
        """How many listings both models judged; None if there were too few to compare on."""
        return self.tested if self.tested >= FEWEST else None

    @property
    def better(self) -> bool:
        """Whether the challenger is better by the margin, and not by chance."""
        enough = self.challenger_male <= (1 - MARGIN) * self.champion_male
        return self.judged is not None and enough and self.upper_bound < 0

    @property
    def surely_worse(self) -> bool:
        """Whether nearly all resamples find the challenger worse."""
        return self.judged is not None and self.low > 0

    @property
    def evidence(self) -> str:
        """The figures in one line."""
        if self.judged is None:
            return f"{self.tested} test listings that neither model has learnt from are too few (under {FEWEST})"
        return (
            f"MALE {self.challenger_male:.4f} against the champion's {self.champion_male:.4f} at {self.coverage:.0%} "
            f"coverage of {self.tested} test listings ({self.first_listed_on} to {self.last_listed_on}); difference "
            f"{self.challenger_male - self.champion_male:+.4f}, 95% of resamples {self.low:+.4f} to {self.high:+.4f}, "
            f"{100 * (1 - chance_of(self.look)):.5g}% below {self.upper_bound:+.4f} (has to be negative at look "
            f"{self.look}), margin {MARGIN:.0%}"
        )


def chance_of(look: int) -> float:
    """The part of `CHANCE` that the n-th look may spend: 1/(n(n+1)) of it, which adds up to all of it.

    A challenger is compared again whenever days come in, and at 5% each time noise would promote it sooner or later
    (alpha spending: Lan and DeMets, Biometrika 70 (1983), 659-663).
    """
    return CHANCE / (look * (look + 1))


def can_predict(artefacts: Artefacts, model_id: str) -> bool:
    """Whether this is a price model, and everything that it needs to predict exists: artefacts and tabular columns."""
    models = artefacts.models
    if model_id not in models or (card := models.card(model_id)).get("kind") != "pricing_model":
        return False
    if not artefacts.usable(model_id):
        return False
    return TABULAR.keys() >= set(map(source_of, models.card(card["feature_map_id"]).get(COLUMNS, ())))


def compared(
    rows: pl.DataFrame, champion: Judged | None, challenger: Judged | None, coverage: float, looks: Collection[int]
) -> Comparison:
    """The comparison of two models on these listings.

    Args:
        rows: the listings, with `listed_on` and `group_key`; neither model has learnt from them.
        champion: its predictions for the rows; None if there are too few rows (`FEWEST`).
        challenger: likewise.
        coverage: share of the listings that each model accepts.
        looks: on how many listings the challenger was compared before, each time.
    """
    look = 1 + len(set(looks) - {rows.height})
    if champion is None or challenger is None:
        nothing = float("nan")
        return Comparison(rows.height, "", "", coverage, nothing, nothing, nothing, nothing, look, nothing)
    group, once = numbered(rows["group_key"].to_numpy()), np.ones((1, rows.height))
    male, other = (float(male_at(model, once, coverage)[0]) for model in (champion, challenger))
    differences = resampled_differences(champion, challenger, group, coverage)
    low, high, bound = (float(np.quantile(differences, at)) for at in (0.025, 0.975, 1 - chance_of(look)))
    first, last = str(rows["listed_on"].min()), str(rows["listed_on"].max())
    return Comparison(rows.height, first, last, coverage, male, other, low, high, look, bound)


def resampled_differences(
    first: Judged, second: Judged, group: Int[np.ndarray, " item"], coverage: float
) -> Float[np.ndarray, " resample"]:
    """MALE of the second model less the first's, over resamples of the groups; both models get the same draws."""
    return np.concatenate(
        [male_at(second, weights, coverage) - male_at(first, weights, coverage) for weights in Draws(group)]
    )
