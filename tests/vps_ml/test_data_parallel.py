"""One training in two processes."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import failing_rank, killed_rank
from worlds import TINY, coloured, quiet

from vps_ml.backbones.training import photo_source, ranks_worth, train_backbone, train_in_ranks
from vps_ml.data_parallel import Rank, RankLost, in_ranks
from vps_ml.training_loop import Session


def test_the_shares_of_a_batch_are_all_of_it_and_nearly_equal() -> None:
    for count in (3, 8, 31):
        rows = torch.arange(count)
        shares = [rows[Rank(number, 3).share(count)] for number in range(3)]
        assert torch.equal(torch.cat(shares), rows)
        assert {len(share) for share in shares} <= {count // 3, count // 3 + 1}
        losses = torch.arange(count).double()
        by_rank = [Rank(i, 3).weighted(losses[Rank(i, 3).share(count)].mean(), count) for i in range(3)]
        assert torch.stack(by_rank).mean().item() == pytest.approx(losses.mean().item())


@pytest.mark.parametrize(
    ("work", "error"),
    [(failing_rank, ValueError), pytest.param(killed_rank, RankLost, marks=pytest.mark.slow)],
)
def test_a_rank_that_fails_or_is_killed_stops_the_others(work: object, error: type[Exception]) -> None:
    began = time.monotonic()
    with pytest.raises(error, match="this photo is none|process 2 of 2 was ended by SIGKILL"):
        in_ranks(work, (1,), 2, quiet)  # type: ignore[arg-type]
    assert time.monotonic() - began < 60


@pytest.fixture
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("frozen_stages", [0, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("_double_precision")
def test_two_processes_learn_what_one_does(tmp_path: Path, frozen_stages: int) -> None:
    """In double precision; batches of odd sizes, so that the shares differ."""
    paths, labels = coloured(tmp_path, 41)
    recipe = replace(TINY, batch_size=17, epochs=2, frozen_stages=frozen_stages)
    source = photo_source(paths, recipe, 0, quiet)
    alone = train_backbone("category", source, labels, recipe, 0, Session(quiet))
    lines: list[str] = []
    kept = tmp_path / "kept"
    session = Session(lines.append, kept, log_every_s=0.0)
    together = train_in_ranks(2, "category", source, labels, recipe, 0, session)
    assert together.loss_by_epoch == pytest.approx(alone.loss_by_epoch, abs=1e-12)
    assert together.validation_score == alone.validation_score
    for name, value in alone.state.items():
        assert np.allclose(together.state[name], value, rtol=0, atol=1e-9), name
    assert [line.split(",")[0] for line in lines] == ["category: epoch 1 of 2", "category: epoch 2 of 2"]
    resumed = train_backbone("category", source, labels, recipe, 0, Session(quiet, kept))
    assert resumed.loss_by_epoch == together.loss_by_epoch, "what two processes have trained, one process continues"
    assert {path.name for path in kept.iterdir()} == {"category.pt"}


@pytest.mark.parametrize(
    ("most", "batch_size", "labelled", "started"),
    [(1, 256, 1000, 1), (4, 256, 1000, 4), (4, 24, 1000, 3), (4, 256, 18, 2), (4, 8, 1000, 1), (4, 256, 2, 1)],
)
def test_as_many_processes_start_as_have_photos_to_share(
    most: int, batch_size: int, labelled: int, started: int
) -> None:
    labels = [["a"]] * labelled + [[]] * 99 + [None] * 99 + [["rare"]]
    assert ranks_worth(most, "attribute", labels, replace(TINY, batch_size=batch_size)) == started
