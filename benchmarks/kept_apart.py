"""Every model of a data directory on adverts that nobody tuned on: prices, and how far off they are.

    VPS_HOME=data python benchmarks/kept_apart.py OTHER.parquet --images PHOTOS [--as-of 2022-02-27] [--out FILE]

OTHER has the contract's columns (`listing_id`, `category`, `image_path`; `seller_id`, `sold_price` and `group_id` where
known). Every model, baseline and ablation of the directory's tables judges them, and so does the model that prices. The
statistics are those as of `--as-of`, by default the day after the last that the directory has. Nothing is landed and
nothing in the directory changes; listings whose photo cannot be read are left out and counted.
"""

import argparse
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import served_id
from vps_assets.assets.features import sold_rows, with_features
from vps_assets.definitions import settings_from_environment
from vps_assets.home import Home
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.settings import Settings
from vps_ml.artefacts import id_in_path
from vps_ml.backbones.embedding import embed, load_extractors
from vps_ml.backbones.tasks import VISUAL_TASKS
from vps_ml.evaluation.resampling import EQUAL_COVERAGES, Draws, Interval, Judged, aurc, male_at, male_of_all, numbered
from vps_ml.features.dataset import PricingDataset
from vps_ml.features.matrix import Block
from vps_ml.features.roles import backbones_of
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import HISTORIES
from vps_ml.photos.decoding import open_photo
from vps_ml.pricing.models import Predictions, load_model
from vps_ml.pricing.variants import Variant, named, variant_of
from vps_ml.recipes import BackboneRecipe

MODELS = ("percentile", "threshold", "baseline", "ablation")
AT_ONCE = 512
"""Photos that are embedded at a time."""


class WithOthers(PricingDataset):
    """A directory's sold listings, on which baselines are calibrated, and after them the others, embedded here."""

    def __init__(self, rows: pl.DataFrame, others: pl.DataFrame, visual: dict[str, np.ndarray], settings: Settings):
        super().__init__(pl.concat([rows, others], how="diagonal_relaxed"), settings.recipe, settings.artefacts)
        self.own, self.visual = rows.height, visual

    def visual_blocks(self, features: str, rows: np.ndarray) -> Iterator[Block]:
        places = np.arange(len(rows))
        inside = rows < self.own
        for where, block in super().visual_blocks(features, rows[inside]):
            yield places[inside][where], block
        tasks = [task for task in VISUAL_TASKS[features] if task in self.visual]
        if (~inside).any():
            block = np.concatenate([self.visual[task][rows[~inside] - self.own] for task in tasks], axis=1)
            yield places[~inside], block


def readable(path: Path) -> bool:
    """Whether it is a photo."""
    try:
        open_photo(path)
    except (OSError, ValueError):
        return False
    return True


def read_others(listings: Path, images: Path) -> pl.DataFrame:
    """The listings whose photo can be read, with `photo` (its path), `log_price` and `group_key`."""
    raw = pl.read_csv(listings, infer_schema_length=None) if listings.suffix == ".csv" else pl.read_parquet(listings)
    for name, dtype in (("seller_id", pl.String), ("sold_price", pl.Float64), ("group_id", pl.String)):
        if name not in raw.columns:
            raw = raw.with_columns(pl.lit(None, dtype).alias(name))
    photos = pl.Series("photo", [str(images / path) for path in raw["image_path"]])
    rows = raw.with_columns(photos).filter(pl.Series([readable(Path(path)) for path in photos]))
    print(f"{rows.height:,} listings; {raw.height - rows.height:,} without a readable photo are left out")
    price = pl.col("sold_price").cast(pl.Float64)
    return rows.with_columns(
        log_price=pl.when(price > 0).then(price.log()),
        group_key=pl.coalesce(pl.col("group_id").cast(pl.String), pl.col("photo")),
    )


def dataset_of(home: Home, settings: Settings, others: pl.DataFrame, as_of: date | None) -> tuple[WithOthers, dict]:
    """(the directory's listings and the others, its tables by name)."""
    names = ("clean_listings", "image_embeddings", "champion_model", *(f"{kind}_pricing_models" for kind in MODELS))
    with open_analytics(home) as analytics:
        tables = {name: analytics.table(name) for name in (*names, *(f"{history}_statistics" for history in HISTORIES))}
    statistics = {history: tables[f"{history}_statistics"] for history in HISTORIES}
    rows = sold_rows(with_features(tables["clean_listings"], tables["image_embeddings"], statistics))
    day = as_of or tables["clean_listings"]["listed_on"].max() + timedelta(days=1)  # type: ignore[operator]
    card = home.artefacts.embeddings.card(rows["embedding_id"][0])
    extractors = load_extractors(
        backbones_of(home.artefacts, rows["embedding_id"][0]),
        BackboneRecipe(**card["backbone_recipe"]),
        home.artefacts,
    )
    parts = []
    for start in range(0, others.height, AT_ONCE):
        parts.append(embed([Path(path) for path in others["photo"][start : start + AT_ONCE]], extractors)[0])
        print(f"{min(start + AT_ONCE, others.height):,} of {others.height:,} photos embedded", flush=True)
    visual = {task: np.concatenate([part[task] for part in parts]) for task in parts[0]}
    dated = others.with_columns(pl.lit(day).alias("listed_on"), pl.col("seller_id").cast(pl.String))
    beside = with_statistics(dated, statistics).with_columns(embedding_id=pl.lit(rows["embedding_id"][0]))
    kept = [name for name in rows.columns if name in beside.columns]
    return WithOthers(rows, beside.select(kept), visual, settings), tables


def judged_rows(dataset: WithOthers, tables: dict) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """(model, model_id, predictions of the others) of every model in the tables, and of the one that prices."""
    predictions, numbers = Predictions(dataset), np.arange(dataset.own, dataset.rows.height)
    models = pl.concat([tables[f"{kind}_pricing_models"] for kind in MODELS]).unique("model_id", maintain_order=True)
    variants: list[tuple[str, Variant, str | None]] = [
        (row["model_id"], variant_of(row), id_in_path(row["path"]) if row["path"] else None)
        for row in models.iter_rows(named=True)
    ]
    if tables["champion_model"].height:
        model_id = served_id(tables["champion_model"])
        variants.append((model_id, variant_of(load_model(dataset.artefacts, model_id)[2]), model_id))
    for table_id, variant, artefact_id in variants:
        name = f"{named(vars(variant))}; {variant.split_kind}, seed {variant.seed}"
        yield name, table_id, predictions.of(variant, artefact_id, numbers)


def figures(rows: pl.DataFrame, draws: Draws) -> dict[str, str]:
    """How far off a model's prices of the others are."""
    error = (rows["predicted_log_price"] - rows["log_price"]).abs().to_numpy()
    judged, qualified = Judged(error, rows["qualification"].to_numpy()), rows["qualified"].to_numpy()
    once = np.ones((1, len(error)))
    inside = rows.select(pl.col("log_price").is_between("low_log_price", "high_log_price")).to_series().to_numpy()
    interval = Interval.of(np.concatenate([male_of_all(judged, weights) for weights in draws]))
    return {
        "MALE of all": f"{error.mean():.4f} [{interval.low:.3f}, {interval.high:.3f}]",
        **{f"at {share}": f"{male_at(judged, once, share)[0]:.4f}" for share in EQUAL_COVERAGES},
        "AURC": f"{aurc(judged, once)[0]:.4f}",
        "coverage": f"{qualified.mean():.3f}",
        "in range": f"{inside[qualified].mean():.3f}" if qualified.any() else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("listings", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--as-of", type=date.fromisoformat)
    parser.add_argument("--out", type=Path, default=Path("kept_apart.parquet"))
    options = parser.parse_args()
    home = Home.from_environment()
    settings = settings_from_environment()
    others = read_others(options.listings, options.images)
    dataset, tables = dataset_of(home, settings, others, options.as_of)
    known = others["log_price"].is_not_null()
    draws = Draws(numbered(others.filter(known)["group_key"].to_numpy()))
    frames, lines = [], []
    for name, model_id, rows in judged_rows(dataset, tables):
        frames.append(rows.with_columns(pl.lit(model_id).alias("model_id"), pl.lit(name).alias("model")))
        if known.any():
            lines.append({"model": name, **figures(rows.filter(known), draws)})
    pl.concat(frames).write_parquet(options.out)
    for line in sorted(lines, key=lambda line: line["MALE of all"]):
        print(f"{line.pop('model'):64}", "  ".join(f"{key} {value}" for key, value in line.items()))
    print(f"{len(frames)} models' predictions are in {options.out}")


if __name__ == "__main__":
    main()
