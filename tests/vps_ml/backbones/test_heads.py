"""Which category a photo looks like."""

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import TINY, coloured, quiet

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import embed, load_extractors
from vps_ml.backbones.heads import CategoryHead
from vps_ml.backbones.training import photo_source, train_backbone
from vps_ml.cards import Contents
from vps_ml.training_loop import Session

HEAD = CategoryHead(("bag", "phone", "sofa"), np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))


def features(*shares: float) -> np.ndarray:
    """Of a photo that is of the three categories with these shares."""
    return np.log(np.array([shares], dtype=np.float32))


@pytest.mark.parametrize(
    ("shares", "given", "told"),
    [
        ((0.991, 0.005, 0.004), "phone", "bag"),
        ((0.991, 0.005, 0.004), "bag", None),
        ((0.91, 0.05, 0.04), "phone", None),  # it might be
        ((0.6, 0.005, 0.395), "phone", None),  # not a phone, but which of the others is not sure
        ((0.991, 0.005, 0.004), "bicycle", None),  # never seen
        ((0.991, 0.005, 0.004), None, None),
    ],
)
def test_a_photo_contradicts_a_category_where_it_is_surely_of_another(
    shares: tuple[float, ...], given: str | None, told: str | None
) -> None:
    assert HEAD.shares(features(*shares))[0] == pytest.approx(shares, abs=1e-6)
    assert HEAD.contradicted(features(*shares), [given]) == [told]


def test_the_head_is_the_one_that_was_trained(tmp_path: Path) -> None:
    paths, labels = coloured(tmp_path, 30)
    source = photo_source(paths, TINY, 0, quiet)
    trained = train_backbone("category", source, labels, TINY, 0, Session(quiet))
    artefacts = Artefacts(tmp_path / "home")
    card = {"kind": "backbone", "labels": trained.labels}
    artefacts.models.make("b", lambda: Contents(card, arrays={"state": trained.state}))
    seen = embed(paths, load_extractors({"category": "b"}, TINY, artefacts))[0]["category"]
    head = CategoryHead.load(artefacts, "b")
    weight, bias = (torch.from_numpy(np.array(trained.state[name])) for name in ("fc.weight", "fc.bias"))
    logits = torch.from_numpy(seen.astype(np.float32)) @ weight.T + bias
    assert head.shares(seen) == pytest.approx(logits.softmax(1).numpy(), abs=1e-5)
    assert head.labels == trained.labels
