"""How the models of a job are fitted, and what a long training says while it goes on."""

from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from unittest.mock import Mock

import numpy as np
import pytest
from datasets import quick_recipe, sold_rows

from vps_ml import training_loop
from vps_ml.artefacts import Artefacts
from vps_ml.ops.pricing import PricingJob, fit_variants, place_of
from vps_ml.pricing import fitting, models
from vps_ml.pricing.variants import SERVED, Variant
from vps_ml.training_loop import Loop, Step

MODEL = Variant(**{**SERVED, "seed": 2, "features": "MSTFE"})


def test_it_is_said_which_model_of_how_many_it_is_with_which_seed_and_what_is_left() -> None:
    assert [place_of(MODEL, *at) for at in ((0, 20, 0.0), (10, 20, 25.0), (5, 20, 100.0), (19, 20, 100.0))] == [
        "[1 of 20, seed 2]",
        "[11 of 20, seed 2]",
        "[6 of 20, seed 2, about 5 min left]",
        "[20 of 20, seed 2]",
    ]


def job(folder: Path) -> PricingJob:
    artefacts, values = Artefacts(folder), (0.3, 0.5, 0.7)
    served = [replace(MODEL, seed=0, split_kind="group", constraint_value=value) for value in values]
    return PricingJob(sold_rows(artefacts), tuple(served), quick_recipe(), artefacts)


def test_models_that_have_all_but_a_gate_in_common_are_fitted_side_by_side_as_if_each_were_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, both, met, said = training_loop.one_epoch, Barrier(2), dict[int, Loop](), list[str]()

    def together(loop: Loop, epoch: int, step: Step) -> float:
        if loop.name == "gate" and id(loop) not in met:
            met[id(loop)] = loop
            if len(met) > 1:  # the first makes what the others read
                both.wait(timeout=20)
        return real(loop, epoch, step)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with monkeypatch.context() as patched:
        patched.setattr(training_loop, "one_epoch", together)
        beside = fit_variants(made := job(tmp_path / "beside"), said.append)
    assert len(met) == 3
    assert [line for line in said if "fold networks" in line] == [
        "[1 of 3, seed 0] 2 fold networks on MSTFE, group split"
    ]
    assert sorted(line[:6] for line in said if line.endswith("trained")) == ["[1 of ", "[2 of ", "[3 of "]
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    alone = fit_variants(other := job(tmp_path / "alone"), said.append)
    assert beside == alone and list(beside) == list(made.variants)
    for artefact_id, _ in beside.values():
        ours, theirs = (one.artefacts.models.arrays(artefact_id, fitting.STATE) for one in (made, other))
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_when_the_first_is_there_but_not_what_it_had_in_common_that_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    made, said = job(tmp_path), list[str]()
    first = fit_variants(replace(made, variants=made.variants[:1]), said.append)
    stored = made.artefacts.models
    for kind in ("folds", "kernel", "trees"):
        (shared,) = (one for one in stored.ids() if stored.card(one)["kind"] == kind)
        stored.delete(shared)
    again = list[str]()
    assert fit_variants(made, again.append).items() > first.items()
    for what in ("fold networks", "kernel machine", "boosted trees"):
        assert len([line for line in again if what in line]) == 1


@pytest.mark.parametrize("worth_sharing", [2**26, 1])
def test_of_each_objective_the_first_is_fitted_alone_and_large_networks_all_are(
    worth_sharing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loop, "WORTH_SHARING", worth_sharing)
    monkeypatch.setattr(models, "side_by_side", beside := Mock(wraps=models.side_by_side))
    small = job(tmp_path)
    first = replace(small.variants[0], objective="cross_fitted")
    said = list[str]()
    fitted = fit_variants(replace(small, variants=(first, *small.variants)), said.append)
    assert len(fitted) == 4
    if worth_sharing == 1:
        assert not beside.called
        return
    ((_, others, bytes_each),) = (call.args for call in beside.call_args_list)
    assert [*others] == [*small.variants[1:]]
    assert bytes_each > models.AT_WORK_BYTES + 200 * 4 * 4, "and the matrix"


def test_when_one_model_fails_its_neighbour_ends_too_and_what_was_fitted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    real, made, failed, heard = training_loop.one_epoch, job(tmp_path), Event(), list[bool]()

    def failing(loop: Loop, epoch: int, step: Step) -> float:
        if loop.name == "gate" and "0.3 trained" in said:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError
            heard.append(step.not_wanted is not None and step.not_wanted.wait(timeout=20))
        return real(loop, epoch, step)

    said = list[str]()
    monkeypatch.setattr(training_loop, "one_epoch", failing)
    with pytest.raises(ZeroDivisionError):
        fit_variants(made, lambda line: said.append("0.3 trained") if " 0.3 " in line and "trained" in line else None)
    assert heard == [True]
    monkeypatch.setattr(training_loop, "one_epoch", real)
    again = list[str]()
    assert len(fit_variants(made, again.append)) == 3
    assert not [line for line in again if "fold networks" in line or " 0.3 " in line], "the first is still there"
    assert len([line for line in again if line.endswith("trained")]) == 2
