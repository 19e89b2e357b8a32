"""Small steps are one thread's, large ones are shared."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event, Semaphore
from time import sleep

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch
from datasets import quick_recipe, sold_rows
from threadpoolctl import threadpool_info, threadpool_limits
from worlds import QUICK, examples, quiet, world

from vps_ml import threads, training_loop
from vps_ml.artefacts import Artefacts
from vps_ml.ops.pricing import PredictionJob, PricingJob, predict_test_rows, train_pricing_models
from vps_ml.pricing.baselines import baseline_variants
from vps_ml.pricing.calibration import Calibration
from vps_ml.pricing.learners import regressor, train_alone
from vps_ml.pricing.models import Predictions
from vps_ml.pricing.variants import Variant
from vps_ml.threads import one_thread, side_by_side, threads_for
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


def test_as_many_as_there_are_cores_are_done_at_the_same_time_and_told_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    both = Barrier(2)

    def work(item: int, stop: Event) -> int:
        both.wait(timeout=20)
        sleep(0.01 * (item % 2))
        return -item

    assert side_by_side(work, range(6)) == [0, -1, -2, -3, -4, -5]
    assert side_by_side(work, []) == []


def test_what_is_at_work_hears_of_an_error_and_what_has_not_begun_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    begun, heard = list[int](), list[bool]()

    def work(item: int, stop: Event) -> int:
        begun.append(item)
        if item == 1:
            raise ZeroDivisionError
        heard.append(stop.wait(timeout=20))
        return item

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, range(6))
    assert sorted(begun) == [0, 1] and heard == [True]


@pytest.mark.usefixtures("_signals_are_heard")
def test_an_interruption_is_heard_by_what_is_at_work() -> None:
    heard = list[bool]()

    def work(item: int, stop: Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        heard.append(stop.wait(timeout=20))

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, [0])
    assert heard == [True]


def test_no_more_are_done_at_a_time_than_memory_is_there_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(threads, "AT_ONCE_BYTES", 299)
    alone = Semaphore(2)

    def work(item: int, stop: Event) -> bool:
        took = alone.acquire(blocking=False)
        sleep(0.02)
        alone.release()
        return took

    assert all(side_by_side(work, range(8), 100))
    assert side_by_side(work, [0], 1000) == [True]


@pytest.mark.parametrize(
    "rows,features,expected", [(0, 128, 1), (600, 320, 1), (600, 8204, 2), (2**13 - 1, 2**9, 1), (2**13, 2**9, 2)]
)
def test_predicting_few_numbers_is_one_threads_and_many_are_shared(rows: int, features: int, expected: int) -> None:
    with threads_for(rows, features):
        assert torch.get_num_threads() == expected


@pytest.mark.parametrize("numbers,expected", [(2**22, 1), (1, 2)])
def test_models_predict_few_test_rows_by_one_thread(
    numbers: int, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = list[int]()

    def predicted(
        predictions: Predictions, variant: Variant, model_id: str, calibration: Calibration, rows: np.ndarray
    ) -> pl.DataFrame:
        seen.append(torch.get_num_threads())
        return pl.DataFrame({"listing_id": predictions.dataset.listing_id[rows]})

    rows = sold_rows(artefacts := Artefacts(tmp_path), 40)
    job = PricingJob(rows, baseline_variants(1, "MSTFE")[:1], quick_recipe(), artefacts)
    models = train_pricing_models(dg.build_op_context(), job=job)
    monkeypatch.setattr("vps_ml.threads.NUMBERS_WORTH_SHARING", numbers)
    monkeypatch.setattr("vps_ml.pricing.models.Predictions.of", predicted)
    predict_test_rows(dg.build_op_context(), PredictionJob(rows, models, quick_recipe(), artefacts))
    assert seen == [expected] * len(seen) and seen


@pytest.mark.parametrize("worth_sharing,expected", [(2**26, 1), (1, 2)])
def test_a_network_whose_steps_are_small_is_trained_by_one_thread(
    worth_sharing: int, expected: int, monkeypatch: pytest.MonkeyPatch
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
    assert seen == {expected}
    assert torch.get_num_threads() == 2
