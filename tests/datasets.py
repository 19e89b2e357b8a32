"""A small dataset with stored embeddings, on which price models and baselines really train, in seconds."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
from scenario import photo
from worlds import TINY

from vps_ml.artefacts import Artefacts
from vps_ml.backbones.embedding import STATE, embed, load_extractors
from vps_ml.backbones.files import save_embeddings
from vps_ml.backbones.networks import resnet
from vps_ml.cards import Contents
from vps_ml.features.tabular import TABULAR
from vps_ml.recipes import Recipe, demo
from vps_ml.training_loop import weights
from vps_ml.words.files import save_words
from vps_ml.words.reading import Reader, reader_id

BACKBONES = {"specification": "s", "category": "b"}
"""Of `photographed_rows`: task -> artefact, in another order than price models see them."""
ROLES = ["train"] * 7 + ["validation"] * 2 + ["test"]


def quick_recipe() -> Recipe:
    """The demo recipe with the least training that still runs every step of it."""
    base = demo()
    pricing = replace(base.pricing, hidden=(8, 4), epochs=(2, 1, 2, 1), folds=2, reduced_features=4, patience=None)
    return replace(base, pricing=pricing)


def words_of(artefacts: Artefacts, log_price: np.ndarray) -> dict[str, list]:
    """What sellers say of items of these prices: titles that tell of the dearer half, stored as they are read.

    One in five says nothing.
    """
    count = len(log_price)
    dear = log_price > np.median(log_price)
    titles = [None if i % 5 == 0 else f"{'golden' if d else 'plastic'} phone {i % 7}" for i, d in enumerate(dear)]
    text_id = reader_id(demo().words, artefacts)
    path = artefacts.embedding_path(text_id, "2024-01-01", "x")
    save_words(artefacts.embedding_file(path), Reader(artefacts, text_id).read([title or "" for title in titles]))
    return {
        "title": titles,
        "description": [None] * count,
        "brand": [(None, "Acme", "Brio")[i % 3] for i in range(count)],
        "condition": [("new", None)[i % 2] for i in range(count)],
        "attributes": [["white", "cotton"], None] * (count // 2) + [[]] * (count % 2),
        "specifications": [["XL"]] * count,
        "text_path": [path] * count,
        "text_row": list(range(count)),
        "text_id": [text_id] * count,
    }


def sold_rows(artefacts: Artefacts, count: int = 200, seed: int = 0) -> pl.DataFrame:
    """Sold listings as `PricingDataset` takes them; the price goes with the first visual feature."""
    rng = np.random.default_rng(seed)
    visual = rng.normal(size=(count, 6)).astype(np.float16)
    log_price = 3 + 0.5 * visual[:, 0].astype(float) + rng.normal(0, 0.1, count)
    learnt = pl.DataFrame({"group_key": ["other"], "photo_hash": ["other"]})
    artefacts.models.make("b", lambda: Contents({"kind": "backbone"}, frames={"learnt": learnt}))
    artefacts.embeddings.make("e", lambda: Contents({"backbones": {"category": "models/b"}}))
    path = artefacts.embedding_path("e", "2024-01-01", "x")
    save_embeddings(artefacts.embedding_file(path), {"category": visual}, np.zeros((count, 4)))
    numbers = [str(i) for i in range(count)]
    roles = [ROLES[i % len(ROLES)] for i in range(count)]
    columns = {
        "listing_id": numbers,
        "listed_on": [date(2024, 1, 1) + timedelta(days=i % 28) for i in range(count)],
        "sold_on": [date(2024, 1, 2) + timedelta(days=i % 28) for i in range(count)],
        "category": [("phone", "shoes")[i % 2] for i in range(count)],
        "group_key": numbers,
        "photo_hash": numbers,
        "log_price": log_price,
        "group_role": roles,
        "time_role": roles,
        "served_role": ["validation" if role == "validation" else "train" for role in roles],
        "embedding_path": [path] * count,
        "embedding_row": list(range(count)),
        "embedding_id": ["e"] * count,
        "tasks": [["category"]] * count,
        **words_of(artefacts, log_price),
    }
    numbers_of = {name: rng.integers(1, 50, count).astype(float) for name in TABULAR if name not in columns}
    return pl.DataFrame(columns | numbers_of, schema_overrides={"description": pl.String})


def photographed_rows(artefacts: Artefacts, count: int = 60) -> pl.DataFrame:
    """`sold_rows` with photos that are there, embedded by a network that is."""
    learnt = pl.DataFrame({"group_key": ["other"], "photo_hash": ["other"]})
    for seed, name in enumerate(BACKBONES.values()):
        state = {STATE: weights(resnet("resnet10", "random", seed))}
        contents = Contents({"kind": "backbone"}, arrays=state, frames={"learnt": learnt})
        artefacts.models.make(name, lambda contents=contents: contents)
    card = {
        "backbones": {task: artefacts.model_path(name) for task, name in BACKBONES.items()},
        "backbone_recipe": vars(TINY),
    }
    artefacts.embeddings.make("e", lambda: Contents(card))
    rows = sold_rows(artefacts, count)
    paths = [artefacts.photo(photo_hash) for photo_hash in rows["photo_hash"]]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(path.with_suffix(".png"), seed=number).rename(path)
    path = artefacts.embedding_path("e", "2024-01-01", "photographed")
    save_embeddings(artefacts.embedding_file(path), *embed(paths, load_extractors(BACKBONES, TINY, artefacts)))
    return rows.with_columns(embedding_path=pl.lit(path), tasks=pl.lit(list(BACKBONES)))
