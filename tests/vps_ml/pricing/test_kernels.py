import numpy as np
import pytest
from sklearn.svm import SVR

from vps_ml.pricing import kernels
from vps_ml.pricing.kernels import Kernel, KernelMachine, fit_kernel_machine

KERNEL = Kernel(penalty=3.0, tolerance=0.1, gamma=0.7)


def curve(rows: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(-2, 2, (rows, 2)).astype(np.float32)
    return x, 3 + np.sin(2 * x[:, 0]) + x[:, 1]


def test_a_machine_predicts_what_scikit_learns_does() -> None:
    x, y = curve(300)
    theirs = SVR(C=3, epsilon=0.1, gamma=0.7).fit(x[:200], y[:200] - y[:200].mean())
    ours = fit_kernel_machine(x[:200], y[:200], KERNEL, 0)
    assert ours.predict(x) == pytest.approx(theirs.predict(x) + y[:200].mean(), abs=1e-4)


def test_beyond_so_many_rows_landmarks_predict_nearly_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = curve(600)
    exact = fit_kernel_machine(x[:500], y[:500], KERNEL, 0)
    monkeypatch.setattr(kernels, "MOST_EXACT", 100)
    monkeypatch.setattr(kernels, "LANDMARKS", 60)
    landmarks = fit_kernel_machine(x[:500], y[:500], KERNEL, 0)
    assert len(landmarks.points) == 60
    errors = [np.abs(machine.predict(x[500:]) - y[500:]).mean() for machine in (exact, landmarks)]
    spread = np.abs(y[500:] - y[:500].mean()).mean()
    assert errors[0] < 0.1 * spread and errors[1] < 0.2 * spread


def test_a_machine_is_the_same_after_it_was_stored_and_predicts_rows_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = curve(100)
    machine = fit_kernel_machine(x, y, KERNEL, 0)
    stored = KernelMachine.of(machine.arrays("price"), "price")
    whole = machine.predict(x)
    monkeypatch.setattr(kernels, "READ_ROWS", 7)
    assert stored.predict(x) == pytest.approx(whole, abs=1e-12)
    assert stored.predict(x[:0]).shape == (0,)
