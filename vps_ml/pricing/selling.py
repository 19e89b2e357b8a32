"""The chance that an item sells, by what is asked for it: a discrete-time hazard.

Each day that an item is on sale is a trial, and the odds of a sale on it are those of a logistic regression on
ln(asking / suggested price), on how long the item is on sale and on its category. Items that have not sold count with
the days that they were seen for (Singer and Willett, "It's About Time: Using Discrete-Time Survival Analysis to Study
Duration and the Timing of Events", Journal of Educational Statistics 18 (1993)). The asking price is that of the
listing: sellers lower it as time goes by, and that is in the chance.

Axes: N item, D draw of the coefficients (the first is the estimate), P coefficient, G price, T day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

HORIZONS_DAYS = (7, 30)
MOST_DAYS = max(HORIZONS_DAYS)
AGE_STARTS = (0, 1, 2, 4, 7, 14, 21)
"""Days on sale from which the hazard may be another."""
MOST_RATIO = 1.5
"""|ln(asking / suggested)| beyond which an asking price says nothing more."""
DRAWS, LEVEL = 100, 0.9
"""Draws of the coefficients, and how many of them an interval holds."""
CATEGORIES_DIFFER = 0.5
"""How much log odds of categories are taken to differ (a standard deviation) before anything is seen of them, beside
1 of other coefficients: one with few sales is like the others."""


@dataclass(frozen=True)
class Offered:
    """Items that were offered, and what became of them."""

    ratio: Float[np.ndarray, " N"]
    """ln(asking / suggested price), the suggestion by a model that had not learnt from the item."""
    category: np.ndarray
    group: np.ndarray
    listed: Float[np.ndarray, " N"]
    """When, in days."""
    days: Float[np.ndarray, " N"]
    """On sale, until it sold or until it was last known to be open."""
    sold: Bool[np.ndarray, " N"]
    above: Float[np.ndarray, " N"]
    """ln(asking / sold price); NaN while open."""

    def __len__(self) -> int:
        return len(self.ratio)

    def where(self, kept: np.ndarray) -> "Offered":
        """The items that a mask or numbers select."""
        return Offered(**{name: values[kept] for name, values in vars(self).items()})

    @property
    def until(self) -> float:
        """The last moment that anything is known of, in days."""
        return float((self.listed + self.days).max(initial=0.0))

    def known_at(self, moment: float) -> "Offered":
        """What was known then: of items that were listed before, with later sales still to come."""
        then = self.where(self.listed < moment)
        seen = moment - then.listed
        sold = then.sold & (then.days <= seen)
        above = np.where(sold, then.above, np.nan)
        days = np.minimum(then.days, seen)
        return Offered(then.ratio, then.category, then.group, then.listed, days, sold, above)


@dataclass(frozen=True)
class Trials:
    """The days that items were on sale, each a trial."""

    item: Int[np.ndarray, " trial"]
    age: Int[np.ndarray, " trial"]
    """Whole days since the item was listed."""
    sold: Bool[np.ndarray, " trial"]

    @classmethod
    def of(cls, offered: Offered) -> "Trials":
        """Whole days without a sale, and the day of each sale, among the first `MOST_DAYS`."""
        whole = np.floor(offered.days).astype(np.int64)
        count = np.minimum(whole + offered.sold, MOST_DAYS)  # a day that is not over says nothing without a sale
        item = np.repeat(np.arange(len(offered)), count)
        age = np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)
        return cls(item, age, offered.sold[item] & (age == whole[item]))


@dataclass(frozen=True)
class Hazard:
    """The odds of a sale on a day."""

    categories: Sequence[str]
    of_age: Float[np.ndarray, "D T"]
    """The log odds on each day, at a ratio of zero, of the average category."""
    of_ratio: Float[np.ndarray, " D"]
    """Their change with the ratio."""
    of_category: Float[np.ndarray, "D category"]

    def own(self, category: str) -> Float[np.ndarray, " D"]:
        """What a category adds to the log odds; nothing for one that has not been seen."""
        return self.of_category @ np.array([name == category for name in self.categories], dtype=float)

    def sold_within(self, ratio: Float[np.ndarray, " G"], category: str, days: int) -> Float[np.ndarray, "D G"]:
        """The chance of a sale within so many days of the listing."""
        by_ratio = self.of_ratio[:, None] * bounded(ratio) + self.own(category)[:, None]
        return at_least_once(self.of_age[:, None, :days] + by_ratio[:, :, None])


def at_least_once(logits: Float[np.ndarray, "... T"]) -> Float[np.ndarray, "..."]:
    """The chance that one of some trials succeeds."""
    from scipy.special import expit

    return 1 - expit(-logits).prod(axis=-1)


def bounded(ratio: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The ratio, as far as it is told apart."""
    return np.clip(ratio, -MOST_RATIO, MOST_RATIO)


def stretch_of(age: Int[np.ndarray, " trial"]) -> Int[np.ndarray, " trial"]:
    """Which of the stretches that begin at `AGE_STARTS` a day is in."""
    return np.searchsorted(AGE_STARTS, age, side="right") - 1


def by_age(age: Int[np.ndarray, " trial"]) -> Float[np.ndarray, "trial A"]:
    """A constant, and whether a day is in each stretch after the first."""
    return np.column_stack([np.ones(len(age)), *(stretch_of(age) == k for k in range(1, len(AGE_STARTS)))])


def tells(offered: Offered) -> bool:
    """Whether there are days with a sale and days without: items that sell when they are listed say nothing."""
    sold = Trials.of(offered).sold
    return bool(sold.any() and not sold.all())


def fit_hazard(offered: Offered, seed: int = 0, draws: int = DRAWS) -> Hazard:
    """Fit the hazard by penalised maximum likelihood.

    The draws are of the normal distribution around the estimate, with a covariance that allows for days and listings
    of one physical item that are not independent ("sandwich": Liang and Zeger, Biometrika 73 (1986)).

    Args:
        offered: the items.
        seed: of the draws.
        draws: of the coefficients, after the estimate; with none their covariance is not computed.

    Raises:
        ValueError: nothing is learnt from these items (`tells`).
    """
    from scipy.sparse import csr_matrix, hstack

    trials = Trials.of(offered)
    categories, number = np.unique(offered.category.astype(str), return_inverse=True)
    trial = np.arange(len(trials.item))
    shape = len(trial), len(categories)
    own = csr_matrix((np.full(len(trial), CATEGORIES_DIFFER), (trial, number[trials.item])), shape=shape)
    ratio = bounded(offered.ratio)[trials.item]
    x = hstack([csr_matrix(by_age(trials.age)), csr_matrix(ratio[:, None]), own]).tocsr()
    estimate, ages = fitted_logistic(x, trials.sold), len(AGE_STARTS)
    both = estimate[None]
    if draws:
        cluster = np.unique(offered.group, return_inverse=True)[1][trials.item]
        covariance = sandwich(x, trials.sold, estimate, cluster)
        drawn = np.random.default_rng(seed).multivariate_normal(estimate, covariance, draws, method="eigh")
        both = np.concatenate([both, drawn])
    of_category = CATEGORIES_DIFFER * both[:, ages + 1 :]
    average = of_category @ (np.bincount(number[trials.item], minlength=len(categories)) / len(trial))
    of_age = both[:, :ages] @ by_age(np.arange(MOST_DAYS)).T + average[:, None]
    return Hazard(categories.tolist(), of_age, both[:, ages], of_category - average[:, None])


def fitted_logistic(x: Any, y: Bool[np.ndarray, " trial"]) -> Float[np.ndarray, " P"]:
    """The coefficients of a logistic regression, all but the first taken to be around zero, by one.

    Args:
        x: a sparse matrix, a row a trial, the first column ones.
        y: the outcomes.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Its steps are of a few hundred numbers: threads would wait for each other. In all of this process, which fits one
    # thing at a time.
    with threadpool_limits(1):
        fitted = LogisticRegression(C=1.0, max_iter=1000, tol=1e-6).fit(x[:, 1:], y)
    return np.concatenate([fitted.intercept_, fitted.coef_[0]])


def sandwich(
    x: Any, y: Bool[np.ndarray, " trial"], estimate: Float[np.ndarray, " P"], cluster: Int[np.ndarray, " trial"]
) -> Float[np.ndarray, "P P"]:
    """The covariance of the coefficients of `fitted_logistic`; trials of the same cluster are not independent."""
    from scipy.sparse import csr_matrix

    chance = 1 / (1 + np.exp(-(x @ estimate)))
    information = np.asarray((x.T @ x.multiply((chance * (1 - chance))[:, None])).todense())
    information += np.diag(np.r_[0.0, np.ones(len(estimate) - 1)])
    of_cluster = csr_matrix((np.ones(len(y)), (cluster, np.arange(len(y)))))
    scores = (of_cluster @ x.multiply((y - chance)[:, None])).toarray()
    bread = np.linalg.pinv(information)
    return bread @ (scores.T @ scores) @ bread


def kaplan_meier(offered: Offered, days: int) -> float:
    """The share that sells within so many days, by whole days; items that are open count while they were seen.

    Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations" (1958).
    """
    trials = Trials.of(offered)
    at_risk = np.bincount(trials.age, minlength=MOST_DAYS)[:days]
    sales = np.bincount(trials.age, weights=trials.sold, minlength=MOST_DAYS)[:days]
    return float(1 - np.prod(1 - np.divide(sales, at_risk, out=np.zeros(days), where=at_risk > 0)))
