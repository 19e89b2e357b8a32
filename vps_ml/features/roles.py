"""Which items a model has learnt from, so that it is tested on others only."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from vps_ml.artefacts import Artefacts, id_in_path
from vps_ml.cards import Contents

ITEM = ("group_key", "photo_hash")
"""What may not be on two sides of a split."""
SPLIT_KINDS = ("group", "time")
SERVED_SPLIT = "served"
"""All sold listings: who trains and who calibrates the refit that is served; nobody tests it."""
ROLES = "roles"
"""Name of the frame in an artefact of roles: which items had which role when models were trained."""
LEARNT = "learnt"
"""Name of the frame in the artefact of a backbone, or of worse copies: the items and photos that it learnt from."""


def roles_contents(rows: pl.DataFrame) -> Contents:
    """The present roles of the rows' items, as an artefact's contents."""
    roles = (f"{kind}_role" for kind in (*SPLIT_KINDS, SERVED_SPLIT))
    return Contents({"kind": ROLES}, frames={ROLES: rows.select(*ITEM, *roles)})


def fitted_items(
    artefacts: Artefacts, roles_id: str, split_kinds: Sequence[str], roles: Sequence[str] = ("train", "validation")
) -> pl.DataFrame:
    """The items that train or calibrate in one of these splits, or have one of these roles; columns `ITEM`."""
    rows = artefacts.models.frame(roles_id, ROLES)
    assert rows is not None, f"{roles_id} has no roles"
    sides = (pl.col(f"{split_kind}_role").is_in(roles) for split_kind in split_kinds)
    return rows.filter(pl.any_horizontal(sides)).select(ITEM)


def learnt_items(artefacts: Artefacts, model_id: str) -> pl.DataFrame | None:
    """The items that a model, backbone or set of copies was made from; None if the artefact is none of them."""
    learnt = artefacts.models.frame(model_id, LEARNT)
    if learnt is not None:
        return learnt
    card = artefacts.models.card(model_id)
    roles_id = card.get("roles_id")
    if roles_id is None or roles_id not in artefacts.models:
        return None
    return fitted_items(artefacts, roles_id, [card["split_kind"]] if "split_kind" in card else SPLIT_KINDS)


def backbones_of(artefacts: Artefacts, embedding_id: str) -> dict[str, str]:
    """Task -> backbone id, of a set of embeddings."""
    return {task: id_in_path(path) for task, path in artefacts.embeddings.card(embedding_id)["backbones"].items()}


def unseen(
    rows: pl.DataFrame, artefacts: Artefacts, cards: Sequence[Mapping[str, Any]], split_kind: str
) -> pl.DataFrame:
    """The rows whose item and photo had no part in training or calibrating the models, or their backbones.

    Args:
        rows: with the columns `ITEM`.
        artefacts: of the data directory.
        cards: the models' cards.
        split_kind: `group` or `time`.
    """
    learnt = [fitted_items(artefacts, roles_id, [split_kind]) for roles_id in {card["roles_id"] for card in cards}]
    for embedding_id in {card["embedding_id"] for card in cards}:
        for backbone_id in backbones_of(artefacts, embedding_id).values():
            items = artefacts.models.frame(backbone_id, LEARNT)
            assert items is not None, f"backbone {backbone_id} does not say what it was trained on"
            learnt.append(items)
    for column in ITEM if learnt else ():
        rows = rows.join(pl.concat(learnt).select(column).unique(), on=column, how="anti", maintain_order="left")
    return rows
