"""Errors of suggested prices, always read beside how many items were qualified (paper, section 4.2)."""

import numpy as np
from jaxtyping import Float


def male(log_error: Float[np.ndarray, " item"]) -> float:
    """Mean absolute log error (paper, Eq. 5), in ln units; NaN of no items."""
    return float(np.abs(log_error).mean()) if log_error.size else float("nan")


def risk_coverage(
    log_error: Float[np.ndarray, " item"], qualification: Float[np.ndarray, " item"], listing_id: np.ndarray
) -> Float[np.ndarray, " item"]:
    """MALE of the k most qualified items, for k = 1 ... n; ties by `listing_id`, ascending."""
    order = np.lexsort((listing_id, -qualification))
    return np.cumsum(np.abs(log_error[order])) / np.arange(1, log_error.size + 1)


def aurc(risk: Float[np.ndarray, " item"]) -> float:
    """Area under the risk-coverage curve: the mean of `risk_coverage`, in ln units; NaN of no items."""
    return float(risk.mean()) if risk.size else float("nan")
