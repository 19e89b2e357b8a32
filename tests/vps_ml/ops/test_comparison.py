"""On which listings champion and challenger are compared."""

from pathlib import Path

import polars as pl

from vps_ml.artefacts import Artefacts, Contents
from vps_ml.features.roles import LEARNT, ROLES
from vps_ml.ops.comparison import ComparisonJob, comparison_of
from vps_ml.recipes import demo


def frame(*items: str, **columns: str) -> pl.DataFrame:
    return pl.DataFrame({"group_key": list(items), "photo_hash": [f"photo of {item}" for item in items]}).with_columns(
        **{name: pl.lit(value) for name, value in columns.items()}
    )


def model(artefacts: Artefacts, name: str, *trained_on: str, backbone_trained_on: str) -> str:
    """A price model by its artefacts, each with the items that it has learnt from."""
    roles = frame(*trained_on, group_role="train", time_role="train")
    artefacts.models.make(f"{name} roles", lambda: Contents({}, frames={ROLES: roles}))
    artefacts.models.make(f"{name} backbone", lambda: Contents({}, frames={LEARNT: frame(backbone_trained_on)}))
    artefacts.embeddings.make(f"{name} e", lambda: Contents({"backbones": {"category": f"models/{name} backbone"}}))
    card = {"roles_id": f"{name} roles", "embedding_id": f"{name} e", "split_kind": "time"}
    return artefacts.models.make(name, lambda: Contents(card))


def test_they_are_compared_on_test_listings_that_neither_model_nor_a_backbone_of_either_has_learnt_from(
    tmp_path: Path,
) -> None:
    artefacts = Artefacts(tmp_path)
    champion = model(artefacts, "champion", "a", backbone_trained_on="b")
    challenger = model(artefacts, "challenger", "c", backbone_trained_on="d")
    rows = pl.concat([frame(*"abcdef", time_role="test"), frame(*"gh", time_role="train")])
    job = ComparisonJob(rows, champion, champion, challenger, 0.7, [], True, demo(), artefacts)
    assert comparison_of(job, champion).tested == 2  # e and f
