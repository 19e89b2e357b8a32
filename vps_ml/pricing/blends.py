"""What a kernel machine and boosted trees add to the networks: other prices, and another word on the error.

Axes: N item, V validation item, F feature, K knot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from jaxtyping import Float

from vps_ml.cards import Contents
from vps_ml.features.matrix import MatrixRows
from vps_ml.features.scaling import FeatureMap
from vps_ml.features.tabular import ERRORS, PRICES
from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.distances import Rows, input_scale, parts_of, seeded_choice
from vps_ml.pricing.expected_errors import SCALE, Comparables, ExpectedError, error_of
from vps_ml.pricing.folds import fold_of_group
from vps_ml.pricing.kernels import CACHE_BYTES, MOST_EXACT, Kernel, KernelMachine, fit_kernel_machine
from vps_ml.stores import Store
from vps_ml.threads import side_by_side

PRICE = Kernel(penalty=3.0, tolerance=0.1, gamma=0.7)
"""Of log prices, in ln units. Chosen once by hand on real adverts, and left (docs/experiments.md)."""
FOLDS = 5
MOST_ERROR_SHARE = 0.5
OWN_SHARE: Mapping[str, float] = {"percentile": 0.25, "threshold": 0.5}
"""How much the error that the networks expect counts beside f_cls in a gate. Labels of |error| < ε are noisier than
squared errors, and with a small ε they say little of a faulty photo: there it has half (docs/adr/0021)."""
KNOTS = 101
STEPS = 10
MACHINES, TREES = "machines", "trees"
"""Names of the arrays and the text in a blend's artefact."""


def predicted(machine: KernelMachine, x: Rows, scale: Float[np.ndarray, " F"]) -> Float[np.ndarray, " N"]:
    """A machine's predictions for rows of price features."""
    return np.concatenate([np.empty(0), *(machine.predict(part * scale) for part in parts_of(x))])


@dataclass(frozen=True)
class KernelFolds:
    """A kernel machine of prices, and its errors on items that it did not see."""

    machine: KernelMachine
    scale: Float[np.ndarray, " F"]
    error_scale: Float[np.ndarray, " F"]
    """For what expects errors."""
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
    scale, error_scale = (input_scale(feature_map, rows, learning) for learning in (PRICES, ERRORS))
    scaled, y = rows * scale, price[chosen]
    fold = fold_of_group(group[chosen], FOLDS, seed)

    def without(k: int, not_wanted: object = None) -> KernelMachine:
        return fit_kernel_machine(scaled[fold != k], y[fold != k], PRICE, seed)

    each = range(-1, FOLDS)  # of -1 there is no row
    if len(y) <= MOST_EXACT:
        machine, *machines = side_by_side(without, each, 2 * scaled.nbytes + CACHE_BYTES)
    else:
        machine, *machines = map(without, each)
    residual = price - predicted(machine, x, scale)  # of rows that were not chosen, the machine has not seen any
    for k, other in enumerate(machines):
        residual[chosen[fold == k]] = y[fold == k] - other.predict(scaled[fold == k])
    return KernelFolds(machine, scale, error_scale, residual)


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
    scale: Float[np.ndarray, " F"]
    """Of the features, in its distance."""
    trees: tuple[str, ...]
    """Boosters as LightGBM's texts."""
    error: ExpectedError
    weights: Float[np.ndarray, " 3"]
    """Of the networks, the kernel machine and the trees in the price; they add up to one."""

    @property
    def error_share(self) -> float:
        """How much the expected error counts in the gate: the square of the kernel machine's weight in the price.

        Comparables are as near as the kernel's distance says: where its prices are not the better ones, their word is
        not either, and they do not see a faulty photo as the networks do, which keep half at least.
        """
        return min(float(self.weights[1]) ** 2, MOST_ERROR_SHARE)

    def price(self, x: Rows, network_price: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The weighted mean of the networks', the kernel machine's and the trees' log prices."""
        from vps_ml.pricing.trees import trees_price

        kernel = predicted(self.kernel, x, self.scale)
        trees = np.concatenate([np.empty(0), *(trees_price(self.trees, part) for part in parts_of(x))])
        return self.weights @ np.stack([network_price, kernel, trees])

    def priced(self, x: Rows, networks: "Priced") -> "Priced":
        """What the networks say of some rows, blended."""
        price = self.price(x, networks.log_price)
        return Priced(price, networks.own, self.error.expected_error(x, price))

    def contents(self) -> Contents:
        """The blend as an artefact's contents."""
        from vps_ml.pricing.trees import trees_text

        own = {SCALE: self.scale, "weights": self.weights}
        assert isinstance(self.error, Comparables), "no blend is made with a machine of errors"
        arrays = self.kernel.arrays("price") | self.error.arrays() | own
        return Contents({"kind": "blend"}, arrays={MACHINES: arrays}, texts={TREES: trees_text(self.trees)})

    @classmethod
    def load(cls, models: Store, blend_id: str) -> "Blend":
        """Read a blend."""
        from vps_ml.pricing.trees import trees_of

        arrays = models.arrays(blend_id, MACHINES)
        trees = trees_of(models.text(blend_id, TREES))
        return cls(KernelMachine.of(arrays, "price"), arrays[SCALE], trees, error_of(arrays), arrays["weights"])


@dataclass(frozen=True)
class Words:
    """What is said of how far off some rows' prices are."""

    gate: Float[np.ndarray, " N"]
    """f_cls's logits."""
    own: Float[np.ndarray, " N"]
    """|error|s that the networks expect."""
    expected: Float[np.ndarray, " N"]
    """|error|s that comparables let expect."""


@dataclass(frozen=True)
class Ranks:
    """How f_cls and the expected errors become one gate: by their ranks among validation rows."""

    gate_knots: Float[np.ndarray, " K"]
    """Of f_cls's logit."""
    error_knots: Float[np.ndarray, " K"]
    """Of the |error| that comparables let expect."""
    share: Float[np.ndarray, " 1"]
    """Of the latter in the mean rank, 0 to 1."""
    cut: Float[np.ndarray, " 1"]
    """Mean rank above which as many validation rows are as f_cls alone qualifies."""
    own_knots: Float[np.ndarray, " K"] = field(default_factory=lambda: np.zeros(KNOTS))
    """Of the |error| that the networks expect; as all fields with a default, not stored by blends of before."""
    own_share: Float[np.ndarray, " 1"] = field(default_factory=lambda: np.zeros(1))
    """Of the latter beside f_cls, 0 to 1."""

    @classmethod
    def among(cls, words: "Words", share: float, own_share: float) -> "Ranks":
        """The ranks among validation rows.

        Args:
            words: what is said of these rows.
            share: how much comparables count.
            own_share: how much the error that the networks expect counts in what is left.
        """
        gate, own, expected = (knots_of(word) for word in (words.gate, words.own, words.expected))
        ranks = cls(gate, expected, np.array([share]), np.zeros(1), own, np.array([own_share]))
        return replace(ranks, cut=np.quantile(ranks.mean_rank(words), [1 - (words.gate >= 0).mean()]))

    def mean_rank(self, words: "Words") -> Float[np.ndarray, " N"]:
        """How qualified among unseen items, 0 to 1."""
        of_own, of_error = 1 - rank_by(self.own_knots, words.own), 1 - rank_by(self.error_knots, words.expected)
        of_networks = (1 - self.own_share) * rank_by(self.gate_knots, words.gate) + self.own_share * of_own
        return (1 - self.share) * of_networks + self.share * of_error

    def gate_logit(self, words: "Words") -> Float[np.ndarray, " N"]:
        """The mean rank as a logit that is 0 at the cut; f_cls's own order where the ranks are equal."""
        rank, cut = (np.clip(r, 1e-4, 1 - 1e-4) for r in (self.mean_rank(words), self.cut))
        return np.log(rank / (1 - rank)) - np.log(cut / (1 - cut)) + 1e-6 * np.tanh(words.gate)


@dataclass(frozen=True)
class Beside:
    """A blend, and the ranks of one δ or ε."""

    blend: Blend
    ranks: Ranks


@dataclass(frozen=True)
class Priced:
    """What a model says of some rows but for its gate: the same for every δ and ε that shares its other networks."""

    log_price: Float[np.ndarray, " N"]
    own: Float[np.ndarray, " N"]
    """|error|s that the networks expect."""
    expected: Float[np.ndarray, " N"] | None = None
    """|error|s that comparables let expect; None without a blend."""

    def judged(self, gate: Float[np.ndarray, " N"], ranks: Ranks | None) -> Judgement:
        """With the gate's word; beside a blend the expected error is the geometric mean of both.

        Args:
            gate: f_cls's logits.
            ranks: how they are joined with the expected errors; None without a blend.
        """
        if ranks is None or self.expected is None:
            return Judgement(self.log_price, gate, self.own)
        logit = ranks.gate_logit(Words(gate, self.own, self.expected))
        return Judgement(self.log_price, logit, np.sqrt(self.own * self.expected))
