from pathlib import Path

import polars as pl

from vps_ml.artefacts import Artefacts
from vps_ml.cards import Contents
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.roles import LEARNT
from vps_ml.recipes import demo


def dataset(artefacts: Artefacts, items: list[tuple[str, str, str]]) -> PricingDataset:
    """A dataset of (group, photo, role in both splits)."""
    columns = {"group_key": [g for g, _, _ in items], "photo_hash": [p for _, p, _ in items]}
    roles = {f"{split}_role": [role for _, _, role in items] for split in ("time", "group", "served")}
    return PricingDataset(
        pl.DataFrame(columns | roles | {"tasks": [["category"]] * len(items), "sold_on": [None] * len(items)}),
        demo(),
        artefacts,
    )


def test_a_kept_model_is_not_tested_on_items_and_photos_that_it_has_learnt(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path)
    then = dataset(artefacts, [("g1", "p1", "train"), ("g2", "p2", "validation"), ("g3", "p3", "test")])
    card = {"roles_id": then.roles_id(), "embedding_id": "e"}
    artefacts.embeddings.make("e", lambda: Contents({"backbones": {"category": artefacts.model_path("b")}}))
    learnt = pl.DataFrame({"group_key": ["g6"], "photo_hash": ["p6"]})
    artefacts.models.make("b", lambda: Contents({}, frames={LEARNT: learnt}))
    items = [
        ("g1", "p9", "test"),  # of a group that trained
        ("g8", "p2", "test"),  # with a photo that calibrated
        ("g3", "p3", "test"),
        ("g4", "p4", "test"),
        ("g6", "p7", "test"),  # of a group that a backbone learnt
        ("g5", "p5", "train"),
    ]
    now = dataset(artefacts, items)
    assert now.unseen_test("time", [card]).tolist() == [2, 3]
    assert now.unseen_test("time", []).tolist() == [0, 1, 2, 3, 4]
