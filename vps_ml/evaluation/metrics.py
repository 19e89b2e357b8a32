"""Errors of suggested prices, always read beside how many items were qualified (paper, section 4.2)."""

import numpy as np
from jaxtyping import Float


def male(log_error: Float[np.ndarray, " item"]) -> float:
    """Mean absolute log error (paper, Eq. 5), in ln units; NaN of no items."""
    return float(np.abs(log_error).mean()) if log_error.size else float("nan")


def rmsle(log_error: Float[np.ndarray, " item"]) -> float:
    """Root mean square log error (paper, Eq. 6), in ln units; NaN of no items."""
    return float(np.sqrt(np.square(log_error).mean())) if log_error.size else float("nan")


def risk_coverage(
    log_error: Float[np.ndarray, " item"], qualification: Float[np.ndarray, " item"], listing_id: np.ndarray
) -> Float[np.ndarray, " item"]:
    """MALE of the k most qualified items, for k = 1 ... n; ties by `listing_id`, ascending."""
    order = np.lexsort((listing_id, -qualification))
    return np.cumsum(np.abs(log_error[order])) / np.arange(1, log_error.size + 1)


def aurc(risk: Float[np.ndarray, " item"]) -> float:
    """Area under the risk-coverage curve: the mean of `risk_coverage`, in ln units; NaN of no items."""
    return float(risk.mean()) if risk.size else float("nan")


CURVE_POINTS = 20
"""A risk-coverage curve is read for the tables at 5%, 10%, ... 100%."""


def risk_curve(risk: Float[np.ndarray, " item"]) -> list[float]:
    """`risk_coverage` of k of `CURVE_POINTS` parts of the items (rounded up), k = 1 ...; empty of no items."""
    return [float(risk[-(-k * risk.size // CURVE_POINTS) - 1]) for k in range(1, CURVE_POINTS + 1) if risk.size]


def male_of_top_half(risk: Float[np.ndarray, " item"]) -> float:
    """`risk_coverage` of the most qualified half, rounded up: models at equal coverage; NaN of no items."""
    return float(risk[(risk.size - 1) // 2]) if risk.size else float("nan")
