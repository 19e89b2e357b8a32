"""The ops that find the sold items which are shown beside suggestions, and measure what they say of a price."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from vps_ml.artefacts import SOLD_ITEMS, Artefacts
from vps_ml.cards import identity
from vps_ml.features.given import inputs_of_rows
from vps_ml.features.roles import unseen
from vps_ml.features.unchanged import MADE_FROM, kept, made_from
from vps_ml.ops import GPU_POOL, GPU_TAGS, PREDICTED_AT_ONCE

if TYPE_CHECKING:
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.pricing.sold_items import SoldItems

FIGURES = (
    *("male", "male_of_comparables", "male_of_category", "difference", "low", "high"),
    *("suggested_inside", "sold_inside"),
)
"""Columns of `comparable_reports` that are null where there are no comparables."""
CODE_VERSION = "2"
"""Part of the id of sold items: raise it when their features or their order change."""


@dataclass(frozen=True)
class SoldItemsJob:
    """Sold listings (columns of `PricingDataset`), and the models that see them."""

    rows: pl.DataFrame
    champions: Mapping[str, str]
    """Inputs -> a model that prices by them."""
    artefacts: Artefacts


@dataclass(frozen=True)
class ComparablesJob:
    """Open listings (columns of `ChampionJob`, and their group) that have been priced, and by what."""

    rows: pl.DataFrame
    """With `model_id` of the suggestion."""
    items: Mapping[str, str]
    """The model -> the artefact of sold items as it sees them."""
    artefacts: Artefacts
    before: pl.DataFrame | None = None
    """What was found earlier beside listings of these dates, with what it was made from."""
    version: str = ""
    """Of what finds them: by another one nothing is kept."""


def with_inputs(rows: pl.DataFrame, inputs: str) -> pl.DataFrame:
    """The rows that can be priced by these inputs."""
    return rows if inputs == "photo" else rows.filter(inputs_of_rows(rows) == "both")


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def keep_sold_items(context: dg.OpExecutionContext, job: SoldItemsJob) -> pl.DataFrame:
    """One row per champion: where the sold items are, as it sees them."""
    found = []
    for inputs, model_id in job.champions.items():
        sold = with_inputs(job.rows, inputs)
        if sold.is_empty():
            continue
        path = job.artefacts.model_path(kept_sold_items(job.artefacts, model_id, sold))
        days = {"first_sold_on": sold["sold_on"].min(), "last_sold_on": sold["sold_on"].max()}
        found.append({"inputs": inputs, "model_id": model_id, "items": sold.height, **days, "path": path})
        context.log.info(f"{sold.height:,} sold items as the model of {inputs} sees them")
    return pl.DataFrame(found)


def kept_sold_items(artefacts: Artefacts, model_id: str, sold: pl.DataFrame) -> str:
    """The artefact of sold items as a model sees them."""
    from vps_ml.features.dataset import digest_of
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.pricing.sold_items import SoldItems

    items_id = identity(SOLD_ITEMS, CODE_VERSION, model_id, digest_of(sold.drop("tasks")))
    return artefacts.models.make(
        items_id, lambda: SoldItems.of(Predictor.load(artefacts, model_id), sold).contents(model_id)
    )


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def find_comparables(context: dg.OpExecutionContext, job: ComparablesJob) -> pl.DataFrame:
    """One row per priced open listing and rank: a sold item that is like it.

    Beside a listing that is as it was stays what was found, as long as its category had sold the same before it.
    """
    from vps_ml.pricing.sold_items import SoldItems

    found, searched = [], 0
    for (model_id,), rows in job.rows.group_by("model_id", maintain_order=True):
        items = SoldItems.load(job.artefacts, job.items[model_id])
        known = rows.with_columns(made_from(rows.with_columns(sold=items.known_before(rows)), job.version))
        found.append(kept(job.before, known))
        new = known.join(found[-1], on="listing_id", how="anti", maintain_order="left")
        searched += new.height
        found += newly_found(job.artefacts, model_id, items, new)
    context.log.info(f"sold items beside {job.rows.height:,} suggestions, searched for {searched:,} of them")
    return pl.concat([frame for frame in found if frame.width], how="diagonal_relaxed") if found else pl.DataFrame()


def newly_found(artefacts: Artefacts, model_id: str, items: "SoldItems", rows: pl.DataFrame) -> list[pl.DataFrame]:
    """What is found beside listings that this model has priced."""
    if rows.is_empty():
        return []
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.threads import one_thread

    model = Predictor.load(artefacts, model_id)
    with one_thread():  # a listing's category is scanned in a millisecond
        return [shown_beside(model, items, part) for part in rows.iter_slices(PREDICTED_AT_ONCE)]


@dg.op(tags=GPU_TAGS, pool=GPU_POOL)
def measure_comparables(context: dg.OpExecutionContext, job: SoldItemsJob) -> pl.DataFrame:
    """One row per champion as it was judged: how far off the median of comparables is where it gives a price."""
    from vps_ml.pricing.predictor import Predictor
    from vps_ml.pricing.sold_items import SoldItems

    found = []
    for inputs, model_id in job.champions.items():
        model, card = Predictor.load(job.artefacts, model_id), job.artefacts.models.card(model_id)
        sold = with_inputs(job.rows, inputs)
        tested = unseen(
            sold.filter(pl.col(f"{card['split_kind']}_role") == "test"), job.artefacts, [card], card["split_kind"]
        )
        if tested.is_empty():
            continue
        judged = with_comparables(model, SoldItems.of(model, sold), tested)
        found.append({"inputs": inputs, "model_id": model_id, "split_kind": card["split_kind"], **summary_of(judged)})
        context.log.info(f"{inputs}: {tested.height:,} test listings held against what was sold before them")
    return pl.DataFrame(found, infer_schema_length=None)


def shown_beside(model: "Predictor", items: "SoldItems", rows: pl.DataFrame) -> pl.DataFrame:
    """One row per listing and rank: a sold item that is like it."""
    numbers = [
        similar_to(row, point, items) for row, point in zip(rows.iter_rows(named=True), model.matrix(rows), strict=True)
    ]
    listing = np.repeat(np.arange(rows.height), [len(shown) for shown in numbers])
    rank = np.concatenate([np.arange(1, len(shown) + 1) for shown in numbers])
    own = rows.select("listing_id", "listed_on", "model_id", MADE_FROM)[listing].with_columns(rank=pl.Series(rank))
    similar = items.items[np.concatenate(numbers)].rename({"listing_id": "comparable_id"})
    return pl.concat([own, similar], how="horizontal")


def similar_to(row: Mapping[str, Any], point: np.ndarray, items: "SoldItems") -> np.ndarray:
    """The numbers of the sold items that are shown beside a listing."""
    return items.similar(point, row["category"], row["listed_on"], row["group_key"], {row["photo_hash"]})


def with_comparables(model: "Predictor", items: "SoldItems", tested: pl.DataFrame) -> pl.DataFrame:
    """Test listings with the model's prediction, and the median, least and highest log price of their comparables."""
    x = model.matrix(tested)
    judged = []
    for row, point, predicted in zip(tested.iter_rows(named=True), x, model.predicted(x), strict=True):
        prices = np.log(items.items["sold_price"][similar_to(row, point, items)].to_numpy())
        ends = (float(np.median(prices)), float(prices.min()), float(prices.max())) if len(prices) else (None,) * 3
        judged.append((predicted.log_price, predicted.qualification >= 0.5, len(prices), *ends))
    names = ("predicted_log_price", "qualified", "comparables", "median", "least", "highest")
    columns = pl.DataFrame(judged, schema=list(names), orient="row", infer_schema_length=None)
    return pl.concat([tested.select("group_key", "log_price", "category_median"), columns], how="horizontal")


def summary_of(judged: pl.DataFrame) -> dict[str, object]:
    """The figures of `comparable_reports` of one model."""
    from vps_ml.evaluation.resampling import Draws, middle, numbered, weighted_mean
    from vps_ml.pricing.sold_items import SHOWN

    qualified = judged.filter("qualified")
    shown = qualified.filter(pl.col("comparables") == SHOWN, pl.col("category_median").is_not_null())
    counts: dict[str, object] = {"tested": judged.height, "qualified": qualified.height, "shown": shown.height}
    if shown.is_empty():
        return {**counts, **dict.fromkeys(FIGURES)}
    of_category = pl.col("category_median").cast(pl.Float64).log()
    named = {
        "male": pl.col("predicted_log_price"),
        "male_of_comparables": pl.col("median"),
        "male_of_category": of_category,
    }
    errors = shown.select(**{name: (price - pl.col("log_price")).abs() for name, price in named.items()})
    apart = (errors["male_of_comparables"] - errors["male_of_category"]).to_numpy()
    draws = Draws(numbered(shown["group_key"].to_numpy()))
    low, high = middle(np.concatenate([weighted_mean(apart, weights) for weights in draws]))
    inside = {
        name: shown.select((pl.col(price) >= pl.col("least")) & (pl.col(price) <= pl.col("highest"))).to_series().mean()
        for name, price in (("suggested_inside", "predicted_log_price"), ("sold_inside", "log_price"))
    }
    means = {name: errors[name].mean() for name in named}
    return {**counts, **means, "difference": float(apart.mean()), "low": low, "high": high, **inside}
