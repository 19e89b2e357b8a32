"""Small steps are one thread's, large ones are shared."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from worlds import QUICK, examples, quiet, world

from vps_ml import training_loop
from vps_ml.pricing.learners import regressor, train_alone
from vps_ml.threads import one_thread
from vps_ml.training_loop import Session


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_works_meanwhile_and_as_many_as_before_afterwards() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("worth_sharing,threads", [(2**26, 1), (1, 2)])
def test_a_network_whose_steps_are_small_is_trained_by_one_thread(
    worth_sharing: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loop, "WORTH_SHARING", worth_sharing)
    x, y, _ = world(60)
    prices, seen = examples(x, y), set[int]()
    monkeypatch.setattr(
        training_loop.Step,
        "__call__",
        lambda step, rows: seen.add(torch.get_num_threads()) or torch.tensor(np.float32(1)),
    )
    learner = replace(regressor("f_reg", prices, QUICK), recordable=False)
    train_alone(learner, prices, prices, QUICK, 0, Session(quiet))
    assert seen == {threads}
    assert torch.get_num_threads() == 2
