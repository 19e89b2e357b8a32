from dataclasses import replace

import torch

from vps_ml.pricing.schedule import batches_per_epoch, phases
from vps_ml.recipes import demo, paper
from vps_ml.training_loop import shuffled_batches


def test_the_four_phases_are_the_papers() -> None:
    four = [(p.epochs, p.learning_rate, p.warming_up) for p in phases(paper().pricing, 892_414, warm_up=True)]
    assert four == [(1700, 5e-4, True), (850, 2e-4, True), (3400, 5e-4, False), (1700, 2e-4, False)]


def test_without_warm_up_stage_2_runs_for_as_many_epochs_in_all() -> None:
    without = phases(paper().pricing, 892_414, warm_up=False)
    assert sum(p.epochs for p in without) == 7650
    assert not any(p.warming_up for p in without)


def test_a_batch_is_never_larger_than_its_size() -> None:
    parts = list(shuffled_batches(1000, batches_per_epoch(1000, 256), torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [250, 250, 250, 250]
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))


def test_with_many_rows_all_phases_shrink_alike() -> None:
    recipe = replace(demo().pricing, epochs=(16, 8, 32, 16), batch_size=100, most_steps=3600)
    assert [p.epochs for p in phases(recipe, 10_000, warm_up=True)] == [8, 4, 16, 8]
    assert [p.epochs for p in phases(recipe, 5_000, warm_up=True)] == [16, 8, 32, 16]
