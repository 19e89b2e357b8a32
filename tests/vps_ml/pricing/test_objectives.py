import pytest
import torch

from vps_ml.pricing.objectives import (
    laplace_objective,
    percentile_objective,
    straight_through_gate,
    threshold_objective,
)

LOGIT = [2.0, -1.0, 0.0, -3.0]  # C1 = 1 0 1 0: a logit of 0 is f_cls = 0.5, which counts as qualified
SQUARED = [0.04, 1.0, 0.25, 0.09]


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(SQUARED, requires_grad=True), torch.tensor(LOGIT, requires_grad=True)


def percentile(squared: torch.Tensor, logit: torch.Tensor, warming_up: bool = False) -> torch.Tensor:
    return percentile_objective(squared, logit, coverage_target=0.7, constraint_weight=2.0, warming_up=warming_up)


def threshold(squared: torch.Tensor, logit: torch.Tensor, label_weight: float = 1.0) -> torch.Tensor:
    return threshold_objective(
        squared,
        logit,
        error_tolerance=0.3,
        coverage_floor=0.7,
        constraint_weight=2.0,
        label_weight=label_weight,
        warming_up=False,
    )


def test_percentile_objective_is_equation_1() -> None:
    # mean(C1 e²) = (0.04 + 0.25) / 4; β max(0, δ - mean C1) = 2 (0.7 - 0.5)
    assert torch.isclose(percentile(*tensors()), torch.tensor(0.29 / 4 + 2 * 0.2), atol=1e-6)


def test_stage_1_counts_every_item_in_the_regression_term_and_keeps_the_hinge() -> None:
    assert torch.isclose(percentile(*tensors(), warming_up=True), torch.tensor(1.38 / 4 + 2 * 0.2), atol=1e-6)


def test_threshold_objective_is_equation_3() -> None:
    # C2 = |e| <= 0.3: 1 0 0 1
    f = torch.tensor(LOGIT).sigmoid()
    cross_entropy = -(f[0].log() + (1 - f[1]).log() + (1 - f[2]).log() + f[3].log()) / 4
    assert torch.isclose(threshold(*tensors()), 0.29 / 4 + 2 * 0.2 + cross_entropy, atol=1e-6)


def test_the_gates_gradient_in_equation_1_is_the_sigmoids() -> None:
    squared, logit = tensors()
    percentile(squared, logit).backward()
    f = torch.tensor(LOGIT).sigmoid()
    assert torch.allclose(logit.grad, f * (1 - f) * (torch.tensor(SQUARED) - 2.0) / 4, atol=1e-7)


def test_only_qualified_items_train_the_regressor_in_stage_2() -> None:
    squared, logit = tensors()
    percentile(squared, logit).backward()
    assert squared.grad.tolist() == [0.25, 0.0, 0.25, 0.0]


def test_no_gradient_flows_through_the_label_of_equation_3() -> None:
    squared, logit = tensors()
    threshold(squared, logit).backward()
    without = torch.tensor(SQUARED, requires_grad=True)
    threshold(without, torch.tensor(LOGIT), label_weight=0.0).backward()
    assert torch.equal(squared.grad, without.grad)


def test_the_regression_term_of_equation_3_does_not_train_the_gate() -> None:
    squared, logit = tensors()
    threshold(squared, logit).backward()
    larger = torch.tensor(LOGIT, requires_grad=True)
    threshold(torch.tensor([0.04, 1.0, 2.5, 0.09]), larger).backward()  # same labels, larger error
    assert torch.equal(logit.grad, larger.grad)


def test_the_sigmoid_gate_has_f_cls_in_the_place_of_the_step() -> None:
    f, squared = torch.tensor(LOGIT).sigmoid(), torch.tensor(SQUARED)
    value = percentile_objective(
        squared,
        torch.tensor(LOGIT),
        coverage_target=0.7,
        constraint_weight=2.0,
        warming_up=False,
        surrogate="sigmoid",
    )
    assert torch.isclose(value, (f * squared).mean() + 2.0 * (0.7 - f.mean()), atol=1e-6)


def test_the_gate_is_a_step_in_value() -> None:
    assert straight_through_gate(torch.tensor(LOGIT)).tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("weight", [0.5, 2.0, 20.0])
def test_beta_weighs_the_missing_coverage_and_nothing_else(weight: float) -> None:
    squared, logit = tensors()
    value = percentile_objective(squared, logit, coverage_target=0.7, constraint_weight=weight, warming_up=False)
    met = percentile_objective(squared, logit, coverage_target=0.5, constraint_weight=weight, warming_up=False)
    assert value.item() == pytest.approx(0.29 / 4 + weight * 0.2, abs=1e-6)
    assert met.item() == pytest.approx(0.29 / 4, abs=1e-6)


def test_while_the_coverage_is_short_every_item_below_beta_is_pulled_in_and_every_one_above_pushed_out() -> None:
    """The sign of the gradient in Eq. 1 is that of error less β: β is the price of a rejection."""
    squared = torch.tensor([0.04, 1.0, 3.0, 5.0])
    logit = torch.tensor([-1.0, -1.0, -1.0, 1.0], requires_grad=True)
    percentile_objective(squared, logit, coverage_target=0.7, constraint_weight=2.0, warming_up=False).backward()
    assert torch.sign(logit.grad).tolist() == [-1.0, -1.0, 1.0, 1.0]  # descent moves against it


def test_gamma_weighs_the_cross_entropy_of_the_label() -> None:
    none, one, three = (threshold(*tensors(), label_weight=weight).item() for weight in (0.0, 1.0, 3.0))
    assert none == pytest.approx(0.29 / 4 + 2 * 0.2, abs=1e-6)
    assert three - none == pytest.approx(3 * (one - none), abs=1e-6)


def test_the_cross_entropy_pulls_items_within_the_tolerance_in_and_the_others_out() -> None:
    logit = torch.zeros(4, requires_grad=True)
    threshold_objective(
        torch.tensor(SQUARED),
        logit,
        error_tolerance=0.3,
        coverage_floor=0.1,
        constraint_weight=2.0,
        label_weight=1.0,
        warming_up=False,
    ).backward()
    assert torch.sign(logit.grad).tolist() == [-1.0, 1.0, 1.0, -1.0]


def test_the_expected_error_of_least_loss_is_the_mean_error() -> None:
    error = torch.tensor([0.2, -0.6, 1.0])
    guess = torch.tensor(float(torch.tensor(0.6).log()), requires_grad=True)
    laplace_objective(error, guess.expand(3)).backward()
    assert guess.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_the_share_that_is_asked_for_is_of_counted_items_alone() -> None:
    squared, logit = tensors()  # accepted: the first and the third
    counted = torch.tensor([True, True, False, True])
    common = {"coverage_target": 0.7, "constraint_weight": 2.0, "warming_up": False}
    value = percentile_objective(squared, logit, **common, counted=counted)
    assert value.item() == pytest.approx((SQUARED[0] + SQUARED[2]) / 4 + 2.0 * (0.7 - 1 / 3))
    none = percentile_objective(squared, logit, **common, counted=torch.zeros(4, dtype=torch.bool))
    assert none.item() == pytest.approx((SQUARED[0] + SQUARED[2]) / 4 + 2.0 * 0.7), "a batch of copies alone"
