"""Eq. 1 and Eq. 3 of the paper as functions of tensors: exact in value, with a surrogate gradient for the step.

C1 is a step, so that taken literally no gradient reaches f_cls; docs/adr/0003 says why the straight-through
estimator takes its place.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def straight_through_gate(gate_logit: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    """C1 of Eq. 2: 1 where f_cls >= 0.5, else 0; its gradient is the sigmoid's (Bengio et al., 2013)."""
    soft = gate_logit.sigmoid()
    return (gate_logit >= 0).to(soft.dtype) + (soft - soft.detach())


def sigmoid_gate(gate_logit: Float[Tensor, " item"]) -> Float[Tensor, " item"]:
    """f_cls itself in the place of C1: the alternative, equal in trial, whose value is no longer the equation's."""
    return gate_logit.sigmoid()


SURROGATES = {"straight_through": straight_through_gate, "sigmoid": sigmoid_gate}


def coverage_hinge(
    accepted: Float[Tensor, " item"], coverage_target: float, counted: Bool[Tensor, " item"] | None = None
) -> Float[Tensor, ""]:
    """max(0, δ - mean C1), the second term of Eq. 1; the mean is over the items that are counted, all if None."""
    if counted is None:
        return (coverage_target - accepted.mean()).clamp(min=0)
    coverage = (accepted * counted).sum() / counted.sum().clamp(min=1)  # a batch may have none
    return (coverage_target - coverage).clamp(min=0)


def percentile_objective(
    squared_error: Float[Tensor, " item"],
    gate_logit: Float[Tensor, " item"],
    *,
    coverage_target: float,
    constraint_weight: float,
    warming_up: bool,
    surrogate: str = "straight_through",
    counted: Bool[Tensor, " item"] | None = None,
) -> Float[Tensor, ""]:
    """Eq. 1: mean(C1 (y - f_reg)²) + β max(0, δ - mean C1).

    Args:
        squared_error: (y - f_reg)², in squared ln units; pass it detached to train f_cls alone.
        gate_logit: the logit of f_cls.
        coverage_target: δ, a fraction.
        constraint_weight: β, in squared ln units.
        warming_up: stage 1, where C1 = 1 in the regression term; the hinge stays live, so that both networks
            are optimised jointly.
        surrogate: what stands for C1, one of `SURROGATES`.
        counted: which items δ is a share of; None: of all. A copy made worse has an error, but nobody sells it.
    """
    accepted = SURROGATES[surrogate](gate_logit)
    weight = torch.ones_like(accepted) if warming_up else accepted
    return (weight * squared_error).mean() + constraint_weight * coverage_hinge(accepted, coverage_target, counted)


def threshold_objective(
    squared_error: Float[Tensor, " item"],
    gate_logit: Float[Tensor, " item"],
    *,
    error_tolerance: float,
    coverage_floor: float,
    constraint_weight: float,
    label_weight: float,
    warming_up: bool,
    surrogate: str = "straight_through",
) -> Float[Tensor, ""]:
    """Eq. 3: Eq. 1 + γ · cross-entropy of f_cls against C2 = 1[|y - f_reg| <= ε].

    C2 is a label and C1 is hard in the regression term, so f_cls learns from the cross-entropy and the hinge
    alone; with a surrogate in the first term small γ collapses the coverage (ADR 0003).

    Args:
        squared_error: (y - f_reg)², in squared ln units.
        gate_logit: the logit of f_cls.
        error_tolerance: ε, in ln units.
        coverage_floor: δ of Eq. 3, a fraction: keeps the gate from closing.
        constraint_weight: β, in squared ln units.
        label_weight: γ.
        warming_up: as in `percentile_objective`.
        surrogate: what stands for C1 in the hinge, one of `SURROGATES`.
    """
    accepted = SURROGATES[surrogate](gate_logit)
    hard = (gate_logit >= 0).to(accepted.dtype)
    weight = torch.ones_like(accepted) if warming_up else hard
    within = (squared_error.detach() <= error_tolerance**2).to(squared_error.dtype)
    return (
        (weight * squared_error).mean()
        + constraint_weight * coverage_hinge(accepted, coverage_floor)
        + label_weight * binary_cross_entropy_with_logits(gate_logit, within)
    )


def laplace_objective(error: Float[Tensor, " item"], log_expected_error: Float[Tensor, " item"]) -> Float[Tensor, ""]:
    """Negative log likelihood of errors under Laplace's law, but for a constant: least where the second is ln E|error|.

    Args:
        error: y - f_reg, in ln units.
        log_expected_error: the logarithm of the expected |error|.
    """
    return (log_expected_error + error.abs() * (-log_expected_error).exp()).mean()
