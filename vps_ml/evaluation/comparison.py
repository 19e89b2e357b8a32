"""Champion against challenger: the same listings, the same coverage, and how much of the difference is luck."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from vps_ml.artefacts import CARD, card
from vps_ml.features.dataset import unseen
from vps_ml.pricing.predictor import Champion

FEWEST = 50
"""Listings; with fewer no difference is told from luck."""
MARGIN = 0.01
"""Share of the champion's error by which a challenger has to be better: a change of model is not free."""
CHANCE = 0.05
"""That noise alone promotes a challenger, over all the times that it is compared."""
RESAMPLES = 2000
RESAMPLES_AT_ONCE = 100
"""Bounds memory: as many rows of weights, one weight per listing."""


@dataclass(frozen=True)
class Comparison:
    """What a challenger and the champion come to on the listings that neither has learnt from."""

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
    """How many times the challenger has been compared, this time included; the same listings again are one look."""
    surely_below: float
    """The quantile that leaves `chance_of(look)` above it: negative where so few resamples say it is no better."""

    @property
    def judged(self) -> int | None:
        """How many listings both judged; None where there were too few to compare on."""
        return self.tested if self.tested >= FEWEST else None

    @property
    def better(self) -> bool:
        """Whether the challenger is better by the margin, and not by luck."""
        enough = self.challenger_male <= (1 - MARGIN) * self.champion_male
        return self.judged is not None and enough and self.surely_below < 0

    def told(self) -> str:
        """The evidence in one line."""
        if self.judged is None:
            return f"{self.tested} test listings that neither model has learnt from are too few (under {FEWEST})"
        return (
            f"MALE {self.challenger_male:.4f} against the champion's {self.champion_male:.4f} at {self.coverage:.0%} "
            f"coverage of {self.tested} test listings ({self.first_listed_on} to {self.last_listed_on}); difference "
            f"{self.challenger_male - self.champion_male:+.4f}, 95% of resamples {self.low:+.4f} to {self.high:+.4f}, "
            f"{100 * (1 - chance_of(self.look)):.5g}% below {self.surely_below:+.4f} (has to be negative at look "
            f"{self.look}), margin {MARGIN:.0%}"
        )


def chance_of(look: int) -> float:
    """What of `CHANCE` the n-th look may spend: 1/(n(n+1)), which comes to 1 over all n.

    A challenger is compared again whenever days come in, and at 5% each time noise would get in sooner or later
    (alpha spending: Lan and DeMets, Biometrika 70 (1983), 659-663).
    """
    return CHANCE / (look * (look + 1))


def can_judge(folder: Path, home: Path) -> bool:
    """Whether this is a price model, and all that it needs to judge a listing is there."""
    if not (folder / CARD).exists() or (about := card(folder)).get("kind") != "pricing_model":
        return False
    made_by = home / "embeddings" / about["embedding_id"]
    if not (made_by / CARD).exists():
        return False
    backbones = [home / path for path in card(made_by)["backbones"].values()]
    beside = [folder.parent / about[name] for name in ("feature_map_id", "roles_id")]
    return all((needed / CARD).exists() for needed in (*beside, *backbones))


def compare(
    rows: pl.DataFrame, champion: Path, challenger: Path, home: Path, coverage: float, looked: Collection[int]
) -> Comparison:
    """Let both models judge the challenger's test rows, those aside that either has learnt from.

    Args:
        rows: sold listings as `vps_ml.features.dataset.PricingTable` takes them, with `photo_path`.
        champion: its artefact folder.
        challenger: likewise.
        home: the data directory.
        coverage: share of the listings that each model accepts.
        looked: on how many listings the challenger was compared before, each time.
    """
    abouts = {folder: card(folder) for folder in (champion, challenger)}
    tested = rows.filter(pl.col(f"{abouts[challenger]['split_kind']}_role") == "test")
    for about in abouts.values():
        tested = unseen(tested, home, [about], about["split_kind"])
    look = 1 + len(set(looked) - {tested.height})
    if tested.height < FEWEST:
        nothing = float("nan")
        return Comparison(tested.height, "", "", coverage, nothing, nothing, nothing, nothing, look, nothing)
    errors, qualifications = [], []
    for folder in (champion, challenger):
        model = Champion.load(folder)
        judged = model.judge(model.seen(tested, home), tested)
        errors.append(np.abs(np.array([said.log_price for said in judged]) - tested["log_price"].to_numpy()))
        qualifications.append(np.array([said.qualification for said in judged]))
    group = tested["group_key"].rank("dense").to_numpy().astype(np.int64) - 1
    ones = np.ones((1, tested.height))
    males = [male_at(error, q, ones, coverage)[0] for error, q in zip(errors, qualifications, strict=True)]
    differences = resampled_differences(errors, qualifications, group, coverage)
    low, high, below = (float(np.quantile(differences, at)) for at in (0.025, 0.975, 1 - chance_of(look)))
    first, last = str(tested["listed_on"].min()), str(tested["listed_on"].max())
    return Comparison(tested.height, first, last, coverage, float(males[0]), float(males[1]), low, high, look, below)


def male_at(
    error: Float[np.ndarray, " item"],
    qualification: Float[np.ndarray, " item"],
    weights: Float[np.ndarray, "resample item"],
    coverage: float,
) -> Float[np.ndarray, " resample"]:
    """Mean absolute log error of the most qualified share of the items, each counted as often as its weight says.

    Ties of qualification keep the order of the items; the last item counts with the part of it that is needed.
    """
    order = np.argsort(-qualification, kind="stable")
    sorted_weights = weights[:, order]
    needed = coverage * sorted_weights.sum(axis=1, keepdims=True)
    before = np.cumsum(sorted_weights, axis=1) - sorted_weights
    counted = np.clip(needed - before, 0, sorted_weights)
    return (counted * error[order]).sum(axis=1) / needed[:, 0]


def resampled_differences(
    errors: list[np.ndarray], qualifications: list[np.ndarray], group: Int[np.ndarray, " item"], coverage: float
) -> Float[np.ndarray, " resample"]:
    """MALE of the second model less the first's, over resamples of the groups (paired bootstrap, seeded).

    Groups are drawn, not listings: those of one physical item are not independent. Both models see the same draw.
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 16.
    """
    rng = np.random.default_rng(0)
    groups = int(group.max()) + 1
    found = []
    for _ in range(RESAMPLES // RESAMPLES_AT_ONCE):
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES_AT_ONCE).astype(float)
        first, second = (male_at(e, q, drawn[:, group], coverage) for e, q in zip(errors, qualifications, strict=True))
        found.append(second - first)
    return np.concatenate(found)
