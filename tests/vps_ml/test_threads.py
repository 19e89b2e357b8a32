"""Small steps are one thread's, large ones are shared."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch
from datasets import quick_recipe, sold_rows
from threadpoolctl import threadpool_info
from worlds import QUICK, examples, quiet, world

from vps_ml import training_loop
from vps_ml.artefacts import Artefacts
from vps_ml.ops import pricing
from vps_ml.ops.pricing import PredictionJob, predict_test_rows
from vps_ml.pricing.learners import regressor, train_alone
from vps_ml.threads import ROWS_WORTH_SHARING, one_thread, threads_for
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
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}, "BLAS and OpenMP, too"
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_few_rows_are_predicted_by_one_thread_and_many_by_all() -> None:
    for rows, threads in ((0, 1), (ROWS_WORTH_SHARING - 1, 1), (ROWS_WORTH_SHARING, 2)):
        with threads_for(rows):
            assert torch.get_num_threads() == threads


def test_models_predict_few_test_rows_by_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = list[int]()

    def predictions(*_: object) -> pl.DataFrame:
        seen.append(torch.get_num_threads())
        return pl.DataFrame({"model_id": ["m"]})

    monkeypatch.setattr(pricing, "predictions_of_test_rows", predictions)
    rows = sold_rows(artefacts := Artefacts(tmp_path), 40)
    job = PredictionJob(rows, pl.DataFrame({"model_id": ["m"]}), quick_recipe(), artefacts)
    predict_test_rows(dg.build_op_context(), job)
    assert seen == [1]


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
