"""Small steps are one thread's, large ones are shared."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch
from datasets import quick_recipe, sold_rows
from threadpoolctl import threadpool_info, threadpool_limits
from worlds import QUICK, examples, quiet, world

from vps_ml import training_loop
from vps_ml.artefacts import Artefacts
from vps_ml.ops.pricing import PredictionJob, model_rows, predict_test_rows
from vps_ml.pricing.baselines import baseline_variants
from vps_ml.pricing.learners import regressor, train_alone
from vps_ml.pricing.models import Predictions
from vps_ml.pricing.variants import Variant
from vps_ml.threads import one_thread, threads_for
from vps_ml.training_loop import Session


@pytest.fixture(autouse=True)
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):  # whatever the environment says
        yield
    torch.set_num_threads(before)


def test_one_thread_works_meanwhile_and_as_many_as_before_afterwards() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}, "BLAS and OpenMP, too"
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "rows,features,threads", [(0, 128, 1), (600, 320, 1), (600, 8204, 2), (2**13 - 1, 2**9, 1), (2**13, 2**9, 2)]
)
def test_predicting_few_numbers_is_one_threads_and_many_are_shared(rows: int, features: int, threads: int) -> None:
    with threads_for(rows, features):
        assert torch.get_num_threads() == threads


@pytest.mark.parametrize("numbers,threads", [(2**22, 1), (1, 2)])
def test_models_predict_few_test_rows_by_one_thread(
    numbers: int, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = list[int]()

    def predicted(predictions: Predictions, variant: Variant, model_id: str | None, rows: np.ndarray) -> pl.DataFrame:
        seen.append(torch.get_num_threads())
        return pl.DataFrame({"listing_id": predictions.dataset.listing_id[rows]})

    monkeypatch.setattr("vps_ml.threads.NUMBERS_WORTH_SHARING", numbers)
    monkeypatch.setattr("vps_ml.pricing.models.Predictions.of", predicted)
    rows = sold_rows(artefacts := Artefacts(tmp_path), 40)
    models = model_rows([baseline_variants(1, "MSTFE")[0]], [None], artefacts)
    predict_test_rows(dg.build_op_context(), PredictionJob(rows, models, quick_recipe(), artefacts))
    assert seen == [threads]


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
