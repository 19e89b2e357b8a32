from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from worlds import Killed, coloured, examples, quiet

from vps_ml import training_loop
from vps_ml.backbones.networks import resnet
from vps_ml.backbones.training import photo_source, train_backbone
from vps_ml.pricing.learners import constraint_objective, train_jointly
from vps_ml.recipes import demo, paper, recipe_named
from vps_ml.training_loop import Loop, Session, Step


def test_the_demo_recipe_never_downloads() -> None:
    assert demo().backbone.start == "random"


@pytest.mark.slow
def test_the_paper_recipe_starts_and_trains_a_first_epoch_with_little_data(tmp_path: Path) -> None:
    """The configuration is the paper's own: ResNet-50, 224 px, batch 256; only the photos are few."""
    start = tmp_path / "imagenet.safetensors"
    save_file(resnet("resnet50", "random", 0).state_dict(), start)
    recipe = recipe_named("paper", str(start)).backbone
    paths, labels = coloured(tmp_path, 12)
    epochs: list[str] = []

    def log(message: str) -> None:
        if "epoch" in message:
            epochs.append(message)
            if len(epochs) == 2:
                raise Killed

    source = photo_source(paths, recipe, 0, quiet)
    with pytest.raises(Killed):
        train_backbone("category", source, labels, recipe, 0, Session(log, log_every_s=0.0))
    assert "epoch 2 of 30" in epochs[-1]


def test_the_paper_recipe_starts_and_runs_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,204 features, the paper's epochs and batch; only the rows are few."""
    rng = np.random.default_rng(0)
    prices = examples(rng.normal(size=(64, 8204)).astype(np.float32), rng.normal(size=64))
    losses: list[float] = []
    real = training_loop.one_epoch

    def counted(loop: Loop, epoch: int, step: Step) -> float:
        losses.append(loop.loss(torch.arange(64), step.phase).item())
        if len(losses) == 5:
            raise Killed
        return real(loop, epoch, step)

    monkeypatch.setattr(training_loop, "one_epoch", counted)
    recipe = paper().pricing
    objective = constraint_objective("percentile", 0.5, recipe, 1.0)
    with pytest.raises(Killed):
        train_jointly(prices, prices, objective, recipe, True, 0, Session(quiet))
    assert losses[-1] < losses[0]
