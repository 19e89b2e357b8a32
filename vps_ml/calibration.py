"""The gate's threshold and the price range: fitted on one split, judged on another."""

import numpy as np
from jaxtyping import Float


def logit_shift(validation_logit: Float[np.ndarray, " item"], coverage_target: float) -> float:
    """What to subtract from the gate's logits so that `coverage_target` of validation is at or above 0.

    The rule "qualified when the gate is >= 0.5" then stays as it is. The k-th largest logit, k the target's
    whole number of items, is the cut itself, so ties at the cut are all qualified.
    """
    k = max(1, round(coverage_target * validation_logit.size))
    return float(np.sort(validation_logit)[::-1][k - 1])


def price_range(log_residual: Float[np.ndarray, " item"], level: float) -> tuple[float, float]:
    """Offsets (low, high) in ln units around a predicted log price: split conformal on signed residuals.

    Each tail gets half of 1 - `level`, with the finite-sample correction (n + 1) of Vovk et al. (2005), as in
    Romano et al., "Conformalized Quantile Regression" (2019), section 2. Residuals must come from accepted
    items that neither network was trained on.
    """
    n = log_residual.size
    if n == 0:
        return float("-inf"), float("inf")
    ordered = np.sort(log_residual)
    k = int(np.ceil((1 - (1 - level) / 2) * (n + 1)))
    if k > n:
        return float(ordered[0]), float(ordered[-1])
    return float(ordered[n - k]), float(ordered[k - 1])
