from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, Killed, examples, fold_networks, jointly, quiet, world

from vps_ml import training_loop
from vps_ml.pricing.learners import regressor, train_alone
from vps_ml.pricing.schedule import phases
from vps_ml.recorded_steps import RecordedSteps
from vps_ml.training_loop import Checkpoint, Loop, Phase, Plateau, Session, Step


def phase_of(step: Step | RecordedSteps) -> Phase:
    """The phase of a step, which a GPU repeats by itself."""
    return (step.step if isinstance(step, RecordedSteps) else step).phase


def test_a_plateau_is_reached_after_so_many_epochs_without_a_lower_loss() -> None:
    plateau = Plateau(patience=2)
    assert [plateau.reached(iter([loss]).__next__) for loss in (3.0, 2.0, 2.0, 1.0, 1.5, 1.0)] == [False] * 5 + [True]
    never = Plateau(patience=None)
    assert not any(never.reached(lambda: 1.0) for _ in range(50))


def test_a_loss_that_is_not_finite_stops_with_epoch_and_rate() -> None:
    x, y, _ = world(50)
    y[0] = np.nan
    with pytest.raises(FloatingPointError, match="fold [1-3] of 3: the loss is nan in epoch 1 at learning rate 0.005"):
        fold_networks(x, y, np.repeat(0, 50), replace(QUICK, huber_at=None))


def test_a_validation_loss_that_is_not_finite_stops_the_training() -> None:
    x, y, _ = world(60)
    prices, bad = examples(x, y), examples(x, np.full(60, np.nan))
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1"):
        train_alone(regressor("f_reg", prices, QUICK), prices, bad, QUICK, 0, Session(quiet))


@pytest.mark.parametrize("broken_off_in", [1, 3])
def test_a_training_that_goes_on_from_its_checkpoint_ends_with_the_same_weights(
    broken_off_in: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in stage 1 or 2, in the middle of an epoch, after checkpoints of every epoch before."""
    x, y, _ = world()
    unbroken = jointly(x, y, in_one_go := Session(quiet))
    real = training_loop.one_epoch
    planned = phases(QUICK, len(x), warm_up=True)
    seen: list[int] = []
    broken_off = True

    def counted(loop: Loop, epoch: int, step: Step | RecordedSteps) -> float:
        mean = real(loop, epoch, step)
        seen.append(epoch)
        if broken_off and phase_of(step) == planned[broken_off_in] and epoch == 2:
            raise Killed
        return mean

    monkeypatch.setattr(training_loop, "one_epoch", counted)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    session = Session(quiet, tmp_path)
    with pytest.raises(Killed):
        jointly(x, y, session)
    broken_off_after = len(seen)
    torch.manual_seed(99)  # another process
    broken_off = False
    resumed = jointly(x, y, session)
    assert len(seen) == sum(p.epochs for p in planned) + 1  # only the epoch of the kill ran twice
    assert broken_off_after > 2
    assert session.curves == in_one_go.curves != {}, "the curves go on, too"
    for one, other in zip(unbroken, resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss() -> None:
    """The loss on validation rows is scripted: lowest after the second epoch, and two worse ones end the phase."""
    weight = torch.nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def validation_loss(phase: Phase) -> torch.Tensor:
        seen.append(weight.weight.item())
        return torch.tensor([3.0, 1.0, 2.0, 2.0][len(seen) - 1])

    loop = Loop(
        name="scripted",
        networks={"weight": weight},
        optimizer=torch.optim.SGD(weight.parameters(), lr=0.1),
        phases=(Phase(9, 0.1),),
        rows=4,
        batches_per_epoch=1,
        loss=lambda rows, phase: weight.weight.sum(),
        generator=torch.Generator(),
        validation_loss=validation_loss,
        patience=2,
    )
    training_loop.optimise(loop, session := Session(quiet))
    assert session.curves["scripted"].held_out == [3.0, 1.0, 2.0, 2.0]
    assert len(session.curves["scripted"].training) == len(set(seen)) == 4
    assert weight.weight.item() == seen[1]
