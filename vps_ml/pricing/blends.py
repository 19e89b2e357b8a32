"""What a kernel machine and boosted trees add to the networks: other prices, and another word on the error.

Axes: N item, V validation item, F feature, K knot.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from vps_ml.artefacts import Contents, Store
from vps_ml.features.matrix import MatrixRows
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import LABEL
from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.kernels import Kernel, KernelMachine, fit_kernel_machine

PRICE = Kernel(penalty=3.0, tolerance=0.1, gamma=0.7)
"""Of log prices, in ln units. Chosen once by hand on real adverts, and left (docs/experiments.md)."""
ERROR = Kernel(penalty=1.0, tolerance=0.05, gamma=0.5)
"""Of |log error|."""
LABELS_WEIGH, STATISTICS_WEIGH, PRICE_WEIGHS = 0.5, 0.1, 0.3
"""In the kernel's distance, beside visual features of unit mean norm: a label's 0 or 1, a standard deviation of a
statistic, and, for the error, a standard deviation of the price that is suggested."""
FOLDS = 5
MOST_ROWS = 40_000
"""Training rows that a machine is fitted on: a seeded choice of them where there are more."""
LEAST_EXPECTED_ERROR = 0.02
"""ln units: a machine may predict less than nothing."""
KNOTS = 101
STEPS = 10
ERROR_SHARE = 0.5
"""Of the kernel machine's weight in the price: the share of what it expects of the error in the gate. Where its prices
are not the better ones its word on them is not either, and it does not see a faulty photo as f_cls does."""
MACHINES, TREES = "machines", "trees"
"""Names of the arrays and the text in a blend's artefact."""

Rows = MatrixRows | np.ndarray


def parts_of(x: Rows) -> Iterator[Float[np.ndarray, "N F"]]:
    """The rows as arrays, some at a time, without the zeros that pad a matrix."""
    if isinstance(x, np.ndarray):
        yield x
        return
    for part in x.parts():
        yield part.cpu().numpy()[:, : x.matrix.features]


def predicted(machine: KernelMachine, x: Rows, scale: Float[np.ndarray, " F"]) -> Float[np.ndarray, " N"]:
    """A machine's predictions for rows of price features."""
    return np.concatenate([np.empty(0), *(machine.predict(part * scale) for part in parts_of(x))])


def input_scale(feature_map: FeatureMap, x: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " F"]:
    """What each price feature is multiplied by before distances are taken: see `LABELS_WEIGH`.

    Args:
        feature_map: which the features went through.
        x: training rows.
    """
    visual = feature_map.width
    norm = float(np.linalg.norm(x[:, :visual], axis=1).mean()) if visual else 1.0
    is_label = np.array([LABEL in name for name in feature_map.columns], dtype=bool)
    # A label's column is standardised in the matrix, so that a rare one would be far from all others.
    tabular = np.where(is_label, LABELS_WEIGH * feature_map.statistic_scale, STATISTICS_WEIGH)
    return np.concatenate([np.full(visual, 1 / max(norm, 1e-6)), tabular]).astype(np.float32)


@dataclass(frozen=True)
class KernelFolds:
    """A kernel machine of prices, and its errors on items that it did not see."""

    machine: KernelMachine
    scale: Float[np.ndarray, " F"]
    residual: Float[np.ndarray, " N"]
    """y less the prediction of a machine that was fitted without the item, in ln units."""


def fit_kernel_folds(
    x: MatrixRows, price: Float[np.ndarray, " N"], group: np.ndarray, feature_map: FeatureMap, seed: int
) -> KernelFolds:
    """Fit a machine on all rows, and others without a fold each for the errors on rows that they did not see.

    Args:
        x: features of the training rows.
        price: their log prices.
        group: each row's group; all rows of a group are in one fold.
        feature_map: which the features went through.
        seed: of the folds and the choice of rows.
    """
    chosen = seeded_choice(group, seed)
    rows = x.where(chosen).array()
    scale = input_scale(feature_map, rows)
    scaled, y = rows * scale, price[chosen]
    machine = fit_kernel_machine(scaled, y, PRICE, seed)
    residual = price - predicted(machine, x, scale)  # of rows that were not chosen, the machine has not seen any
    fold = fold_of_group(group[chosen], FOLDS, seed)
    for k in range(FOLDS):
        without = fit_kernel_machine(scaled[fold != k], y[fold != k], PRICE, seed)
        residual[chosen[fold == k]] = y[fold == k] - without.predict(scaled[fold == k])
    return KernelFolds(machine, scale, residual)


def seeded_choice(group: np.ndarray, seed: int) -> np.ndarray:
    """All row numbers, or those of whole groups that have `MOST_ROWS` at most, ascending."""
    if len(group) <= MOST_ROWS:
        return np.arange(len(group))
    _, number, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    kept = order[np.cumsum(sizes[order]) <= MOST_ROWS]
    return np.flatnonzero(np.isin(number, kept))


@dataclass(frozen=True)
class ErrorMachine:
    """Expects how far off a price will be, from the price's features and the price."""

    machine: KernelMachine
    scale: Float[np.ndarray, " F"]
    price_centre: float
    price_scale: float

    @classmethod
    def fitted(
        cls, x: MatrixRows, scale: np.ndarray, price: np.ndarray, residual: np.ndarray, seed: int
    ) -> "ErrorMachine":
        """Learn |error| of items that no regressor had seen.

        Args:
            x: features of the training rows.
            scale: of the features, in the kernel's distance.
            price: the prices that were predicted for them, unseen, as logs.
            residual: their errors, in ln units.
            seed: of the choice of rows.
        """
        chosen = seeded_choice(np.arange(len(price)), seed)
        centre, spread = float(price.mean()), float(max(price.std(), 1e-6))
        beside = with_price(x.where(chosen).array() * scale, (price[chosen] - centre) / spread)
        return cls(fit_kernel_machine(beside, np.abs(residual[chosen]), ERROR, seed), scale, centre, spread)

    def expected_error(self, x: Rows, price: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The expected |error| of these prices, in ln units, up to a factor: nearer to the median than to the mean."""
        found, start = [np.empty(0)], 0
        standard = (price - self.price_centre) / self.price_scale
        for part in parts_of(x):
            beside = with_price(part * self.scale, standard[start : start + len(part)])
            found.append(self.machine.predict(beside))
            start += len(part)
        return np.maximum(np.concatenate(found), LEAST_EXPECTED_ERROR)


def with_price(x: Float[np.ndarray, "N F"], standard_price: Float[np.ndarray, " N"]) -> np.ndarray:
    return np.concatenate([x, (PRICE_WEIGHS * standard_price)[:, None]], axis=1)


def knots_of(score: Float[np.ndarray, " N"]) -> Float[np.ndarray, " K"]:
    """Quantiles of a score, by which its rank among unseen items is read."""
    return np.quantile(score, np.linspace(0, 1, KNOTS))


def rank_by(knots: Float[np.ndarray, " K"], score: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """The share of unseen items with a lower score, 0 to 1."""
    return np.interp(score, knots, np.linspace(0, 1, KNOTS))


def blend_weights(residuals: Sequence[Float[np.ndarray, " N"]]) -> Float[np.ndarray, " part"]:
    """The weights, in steps of a tenth, with which the parts' errors on unseen items are least on average.

    Which part is best differs from one data set to another, so it is read off the out-of-fold errors ("stacked
    regressions": Breiman, Machine Learning 24 (1996), with weights that add up to one as there).

    Args:
        residuals: each part's errors on the same items, none of which it had seen, in ln units.
    """
    each = np.stack(residuals)
    steps = product(range(STEPS + 1), repeat=len(each) - 1)
    grid = [np.array([*taken, STEPS - sum(taken)]) / STEPS for taken in steps if sum(taken) <= STEPS]
    return min(grid, key=lambda weights: float(np.abs(weights @ each).mean()))


@dataclass(frozen=True)
class Blend:
    """What stands beside the fold networks of a price model; it does not depend on δ or ε."""

    kernel: KernelMachine
    trees: tuple[str, ...]
    """Boosters as LightGBM's texts."""
    error: ErrorMachine
    """Of the blended price."""
    weights: Float[np.ndarray, " 3"]
    """Of the networks, the kernel machine and the trees in the price; they add up to one."""

    @property
    def error_share(self) -> float:
        """How much the expected error counts in the gate."""
        return ERROR_SHARE * float(self.weights[1])

    def price(self, x: Rows, network_price: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The weighted mean of the networks', the kernel machine's and the trees' log prices."""
        from vps_ml.pricing.trees import trees_price

        kernel = predicted(self.kernel, x, self.error.scale)
        trees = np.concatenate([np.empty(0), *(trees_price(self.trees, part) for part in parts_of(x))])
        return self.weights @ np.stack([network_price, kernel, trees])

    def contents(self) -> Contents:
        """The blend as an artefact's contents."""
        from vps_ml.pricing.trees import trees_text

        numbers = np.array([self.error.price_centre, self.error.price_scale])
        own = {"scale": self.error.scale, "numbers": numbers, "weights": self.weights}
        arrays = self.kernel.arrays("price") | self.error.machine.arrays("error") | own
        return Contents({"kind": "blend"}, arrays={MACHINES: arrays}, texts={TREES: trees_text(self.trees)})

    @classmethod
    def load(cls, models: Store, blend_id: str) -> "Blend":
        """Read a blend."""
        from vps_ml.pricing.trees import trees_of

        arrays = models.arrays(blend_id, MACHINES)
        centre, spread = map(float, arrays["numbers"])
        error = ErrorMachine(KernelMachine.of(arrays, "error"), arrays["scale"], centre, spread)
        return cls(KernelMachine.of(arrays, "price"), trees_of(models.text(blend_id, TREES)), error, arrays["weights"])


@dataclass(frozen=True)
class Ranks:
    """How f_cls and the expected error become one gate: by their ranks among validation rows."""

    gate_knots: Float[np.ndarray, " K"]
    """Of f_cls's logit."""
    error_knots: Float[np.ndarray, " K"]
    """Of the expected |error|."""
    share: Float[np.ndarray, " 1"]
    """Of the expected error in the mean rank, 0 to 1."""
    cut: Float[np.ndarray, " 1"]
    """Mean rank above which as many validation rows are as f_cls alone qualifies."""

    @classmethod
    def among(cls, gate: Float[np.ndarray, " V"], expected: Float[np.ndarray, " V"], share: float) -> "Ranks":
        """The ranks among validation rows with these logits of f_cls and expected errors.

        Args:
            gate: f_cls's logits.
            expected: expected |error|s.
            share: how much the latter count.
        """
        ranks = cls(knots_of(gate), knots_of(expected), np.array([share]), np.zeros(1))
        cut = np.quantile(ranks.mean_rank(gate, expected), 1 - (gate >= 0).mean())
        return cls(ranks.gate_knots, ranks.error_knots, ranks.share, np.array([cut]))

    def mean_rank(self, gate: np.ndarray, expected: np.ndarray) -> Float[np.ndarray, " N"]:
        """How qualified among unseen items, 0 to 1."""
        of_error = 1 - rank_by(self.error_knots, expected)
        return (1 - self.share) * rank_by(self.gate_knots, gate) + self.share * of_error

    def gate_logit(self, gate: np.ndarray, expected: np.ndarray) -> Float[np.ndarray, " N"]:
        """The mean rank as a logit that is 0 at the cut; f_cls's own order where the ranks are equal."""
        rank, cut = (np.clip(r, 1e-4, 1 - 1e-4) for r in (self.mean_rank(gate, expected), self.cut))
        return np.log(rank / (1 - rank)) - np.log(cut / (1 - cut)) + 1e-6 * np.tanh(gate)


@dataclass(frozen=True)
class Beside:
    """A blend, and the ranks of one δ or ε."""

    blend: Blend
    ranks: Ranks

    def judge(self, x: Rows, networks: Judgement) -> Judgement:
        """What the networks judge of some rows, blended; the expected error is the geometric mean of both."""
        price = self.blend.price(x, networks.log_price)
        expected = self.blend.error.expected_error(x, price)
        logit = self.ranks.gate_logit(networks.gate_logit, expected)
        return Judgement(price, logit, np.sqrt(networks.expected_error * expected))
