"""The gate's threshold and the price range: fitted on one split, judged on another."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

ALL = "all"
"""The segment of all listings; no category may be called so."""


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one listing; prices in ln units."""

    log_price: float
    low_log_price: float
    high_log_price: float
    qualification: float

    @property
    def shown_range(self) -> tuple[float, float]:
        """(low, high) log prices as a seller reads them.

        A lopsided range could leave its own price out, which no seller would understand.
        """
        return min(self.low_log_price, self.log_price), max(self.high_log_price, self.log_price)


@dataclass(frozen=True)
class Judgement:
    """Predictions of a model or a baseline for some rows, before calibration."""

    log_price: Float[np.ndarray, " item"]
    gate_logit: Float[np.ndarray, " item"]
    """The higher, the more qualified; before calibration qualified at 0 and above."""
    expected_error: Float[np.ndarray, " item"]
    """Expected |error|, in ln units, up to a factor."""


@dataclass(frozen=True)
class Calibration:
    """The gate's threshold and the price range, fitted on validation rows."""

    logit_shift: float
    range_low: float
    """Ends of the price range around the predicted log price, in multiples of the expected |error|."""
    range_high: float

    def qualification(self, judged: Judgement) -> Float[np.ndarray, " item"]:
        """f_cls after calibration, 0 to 1: qualified at 0.5 and above."""
        return 1 / (1 + np.exp(-(judged.gate_logit - self.logit_shift)))

    def log_range(self, judged: Judgement) -> tuple[Float[np.ndarray, " item"], Float[np.ndarray, " item"]]:
        """(low, high) ends of the price range, as log prices."""
        low, high = (judged.log_price + end * judged.expected_error for end in (self.range_low, self.range_high))
        return low, high


def calibration_of(row: Mapping[str, Any]) -> Calibration:
    """How the model in a row of the model tables is calibrated, and was when it was trained.

    Raises:
        ValueError: a baseline of version 0.1 was not, when it was trained.
    """
    values = [row[field.name] for field in fields(Calibration)]
    if None in values:
        raise ValueError(f"{row['model_id']} has no calibration, as older versions left it: `vps run` calibrates it")
    return Calibration(*values)


def calibrated(
    judged: Judgement, log_price: Float[np.ndarray, " item"], coverage: float | None, level: float
) -> Calibration:
    """The gate's threshold and the price range from judgements of validation rows and their sold prices.

    The range is fitted on accepted rows alone: fitted on all, it would be too wide for those.

    Args:
        judged: judgements of the validation rows.
        log_price: log sold prices of the validation rows.
        coverage: the share to qualify; None leaves the gate as trained.
        level: the price range's nominal coverage.
    """
    shift = 0.0 if coverage is None else logit_shift(judged.gate_logit, coverage)
    return Calibration(shift, *price_range(accepted_residuals(judged, log_price, shift), level))


def accepted_residuals(
    judged: Judgement, log_price: Float[np.ndarray, " item"], logit_shift: float
) -> Float[np.ndarray, " accepted"]:
    """The residuals over the expected error of the accepted items, ascending; of all if none is accepted."""
    accepted = judged.gate_logit >= logit_shift
    kept: Bool[np.ndarray, " item"] | slice = accepted if accepted.any() else slice(None)
    return np.sort(((log_price - judged.log_price) / judged.expected_error)[kept])


def logit_shift(validation_logit: Float[np.ndarray, " item"], coverage_target: float) -> float:
    """The number to subtract from the gate's logits so that `coverage_target` of validation is at or above 0.

    The rule "qualified when the gate is >= 0.5" then still holds. The k-th largest logit, k being the target's
    whole number of items, is the cut itself, so ties at the cut are all qualified.
    """
    k = max(1, round(coverage_target * validation_logit.size))
    return float(np.sort(validation_logit)[::-1][k - 1])


def price_range(scaled_residual: Float[np.ndarray, " item"], level: float) -> tuple[float, float]:
    """Ends (low, high) of the price range, in multiples of the expected error: split conformal, signed residuals.

    The residuals are (y - f_reg) over the expected |y - f_reg| ("normalised" scores: Papadopoulos et al., 2008; Lei
    et al., 2018, section 5.2), so that the range is narrow where the model is sure. Fewer than 9 residuals (at
    80%) cannot say where their tails end: their extremes are returned, which cover less.

    Each tail gets half of 1 - `level`, with the finite-sample correction (n + 1) of Vovk et al. (2005), as in
    Romano et al., "Conformalized Quantile Regression" (2019), section 2. Residuals must come from accepted
    items that neither network was trained on.
    """
    return range_of_ordered(np.sort(scaled_residual), level)


def range_of_ordered(ordered: Float[np.ndarray, " item"], level: float) -> tuple[float, float]:
    """`price_range` of residuals that ascend: whoever asks for thousands of levels orders them once."""
    n = ordered.size
    if n == 0:
        return float("-inf"), float("inf")
    k = int(np.ceil((1 - (1 - level) / 2) * (n + 1)))
    if k > n:
        return float(ordered[0]), float(ordered[-1])
    return float(ordered[n - k]), float(ordered[k - 1])
