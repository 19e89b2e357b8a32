"""`vps judge`: every model of the data directory on listings that nobody tuned on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from vps_assets.assets.champion_decisions import champions_by_inputs, served_in_force
from vps_assets.assets.features import SOLD, with_features
from vps_assets.errors import UserError, one_line
from vps_assets.home import Home
from vps_assets.landing.cells import typed_rows
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.named_files import EMBEDDINGS
from vps_assets.warehouse.publication import publication_of
from vps_ml.artefacts import id_in_path
from vps_ml.atomic import whole_file
from vps_ml.evaluation.resampling import EQUAL_COVERAGES, Drawn, Draws, Judged, aurc, male_of_all, middle, numbered
from vps_ml.features.others import WithOthers, embedded_now
from vps_ml.features.statistics import with_statistics
from vps_ml.features.tabular import GROUP_OF
from vps_ml.photos.decoding import open_photo
from vps_ml.pricing.baselines import is_gated
from vps_ml.pricing.calibration import calibration_of
from vps_ml.pricing.models import Predictions, load_model
from vps_ml.pricing.variants import SERVED_COVERAGE, Variant, named, variant_of
from vps_ml.recipes import Recipe

NEEDED = ("listing_id", "category", "image_path")
MODEL_TABLES = tuple(f"{kind}_pricing_models" for kind in ("percentile", "threshold", "baseline", "ablation", "words"))
Progress = Callable[[str], None]


class NothingToJudge(UserError):
    """The file has no listing that can be judged, or there is no model to judge it."""


@dataclass(frozen=True)
class Verdicts:
    """Every model's predictions of the listings."""

    predictions: pl.DataFrame
    """`model` (in words), `model_id`, and the columns of `evaluation_predictions`; `log_price` null where unknown."""
    figures: list[str]
    """A line a model, best first; none if no sold price is known."""


def judge(
    listings: Path, images: Path | None, as_of: date | None, home: Home, recipe: Recipe, tell: Progress
) -> Verdicts:
    """Predict the listings with every model of the published tables and with the one that prices.

    Nothing lands and nothing in the directory changes. The statistics are those as of a day, by default the one after
    the last listing date that has landed.

    Args:
        listings: Parquet, CSV or JSON Lines with `NEEDED`, and what else is known; the only prices read are sold.
        images: where the photos are; None: beside the file.
        as_of: the day on which all of them are taken to be listed.
        home: the data directory.
        recipe: in force.
        tell: hears of progress.

    Raises:
        NothingToJudge: no listing can be judged, or there is no model.
    """
    others = read_others(listings, images or listings.parent, tell)
    dataset, tables, known = with_others(others, as_of, home, recipe, tell)
    frames, lines = [], []
    draws = Draws(numbered(others.filter(known)["group_key"].to_numpy()))
    for name, model_id, variant, rows in judged(dataset, tables, tell):
        frames.append(rows.select(pl.lit(name).alias("model"), pl.lit(model_id).alias("model_id"), pl.all()))
        if known.any() and worth_a_line(variant):
            lines.append(figures(name, rows.filter(known), draws, is_gated(variant.constraint_kind, variant.objective)))
    unknown = pl.when(pl.col("log_price").is_not_nan()).then("log_price")
    best_first = [line for _, line in sorted(lines)]
    return Verdicts(pl.concat(frames).with_columns(log_price=unknown), best_first)


def read_others(listings: Path, images: Path, tell: Progress) -> pl.DataFrame:
    """The listings whose photo can be read, with `photo` (its path), `log_price` and `group_key`.

    Raises:
        NothingToJudge: the file cannot be read, lacks a column, or no photo of it can be read.
    """
    try:
        raw = read_table(listings)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NothingToJudge(f"{listings.name} cannot be read: {one_line(error)}") from error
    if missing := [name for name in NEEDED if name not in raw.columns]:
        raise NothingToJudge(f"{listings.name} lacks the columns {', '.join(missing)}")
    rows = typed_rows(raw).frame.with_columns(photo=pl.format("{}/{}", pl.lit(str(images)), "image_path"))
    rows = rows.filter(pl.all_horizontal(pl.col(*NEEDED).is_not_null())).unique("listing_id", maintain_order=True)
    rows = rows.filter(pl.Series([readable(Path(photo)) for photo in rows["photo"]], dtype=pl.Boolean))
    if rows.is_empty():
        raise NothingToJudge(f"no listing of {listings.name} has an id, a category and a readable photo under {images}")
    tell(
        f"{rows.height:,} listings; {raw.height - rows.height:,} without an id, category or readable photo are left out"
    )
    price = pl.col("sold_price")
    return rows.with_columns(
        log_price=pl.when(price > 0, price.is_finite()).then(price.log()), group_key=pl.coalesce("group_id", "photo")
    )


def read_table(path: Path) -> pl.DataFrame:
    """A file of listings by its suffix, Parquet if it is no other."""
    if path.suffix == ".csv":
        return pl.read_csv(path, infer_schema=False)
    return pl.read_ndjson(path) if path.suffix in (".jsonl", ".ndjson") else pl.read_parquet(path)


def readable(path: Path) -> bool:
    """Whether it is a photo."""
    try:
        open_photo(path)
    except (OSError, ValueError):
        return False
    return True


def with_others(
    others: pl.DataFrame, as_of: date | None, home: Home, recipe: Recipe, tell: Progress
) -> tuple[WithOthers, dict[str, pl.DataFrame], pl.Series]:
    """(the directory's listings and the others, its tables by name, which of the others have a known price)."""
    if publication_of(Warehouse(home)).newest() is None:
        raise NothingToJudge("there is no model yet: run `vps demo`, or `vps land` and `vps run`")
    names = ("clean_listings", *EMBEDDINGS, "champion_model", *MODEL_TABLES)
    with open_analytics(home) as analytics:
        tables = {name: analytics.table(name) for name in (*names, *(f"{history}_statistics" for history in GROUP_OF))}
    if all(tables[name].is_empty() for name in MODEL_TABLES):
        raise NothingToJudge("there is no model yet: `vps run` trains them")
    statistics = {history: tables[f"{history}_statistics"] for history in GROUP_OF}
    images, texts = (tables[name] for name in EMBEDDINGS)
    own = with_features(SOLD, tables["clean_listings"], images, texts, statistics, recipe)
    photos = [Path(photo) for photo in others["photo"]]
    visual = embedded_now(photos, own["embedding_id"][0], home.artefacts, tell)
    landed = tables["clean_listings"]
    same = [pl.col(key).is_in(landed[key].implode()) for key in ("listing_id", "group_key")]
    if count := others.filter(pl.any_horizontal(same)).height:
        tell(f"{count:,} of them have the id or group of a listing in this directory: models may have learnt from them")
    last: date = tables["clean_listings"]["listed_on"].max()  # type: ignore[assignment]
    dated = others.with_columns(pl.lit(as_of or last + timedelta(days=1)).alias("listed_on"))
    dataset = WithOthers(own, with_statistics(dated, statistics), visual, recipe, home.artefacts)
    return dataset, tables, others["log_price"].is_not_null()


def judged(
    dataset: WithOthers, tables: dict[str, pl.DataFrame], tell: Progress
) -> Iterator[tuple[str, str, Variant, pl.DataFrame]]:
    """(model in words, id, variant, predictions of the others) of all in the tables, and of the one that prices."""
    predictions = Predictions(dataset)
    models = pl.concat([tables[name] for name in MODEL_TABLES]).unique("model_id", maintain_order=True)
    rows = models.to_dicts()
    for champion in champions_by_inputs(tables["champion_model"]).values():
        model_id = served_in_force(champion, dataset.artefacts) or champion["model_id"][0]
        if model_id not in models["model_id"]:
            _, calibration, card = load_model(dataset.artefacts, model_id)
            path = dataset.artefacts.model_path(model_id)
            rows.append({**card, **vars(calibration), "model_id": model_id, "path": path})
    for row in rows:
        model_id, variant = row["model_id"], variant_of(row)
        read_at = f" at {variant.constraint_value}" if variant.constraint_kind == "baseline" else ""
        name = f"{named(vars(variant))}{read_at}; {variant.split_kind}, seed {variant.seed}"
        try:
            calibration = calibration_of(row)
            predicted = predictions.of(variant, id_in_path(row["path"]), calibration, dataset.others)
        except ValueError as error:  # of other backbones than the directory's features, or of an older version
            tell(f"left out: {name}: {one_line(error)}")
            continue
        yield name, model_id, variant, predicted


def worth_a_line(variant: Variant) -> bool:
    """Not a baseline at another coverage than the served one: it is the same model, read elsewhere."""
    again = variant.constraint_kind == "baseline" and variant.constraint_value != SERVED_COVERAGE
    return not again or not is_gated(variant.constraint_kind, variant.objective)


def figures(name: str, rows: pl.DataFrame, draws: Draws, gated: bool) -> tuple[float, str]:
    """(MALE of all, how far off a model is, in one line; without a gate, at full coverage alone)."""
    error = (rows["predicted_log_price"] - rows["log_price"]).abs().to_numpy()
    model, qualified = Judged(error, rows["qualification"].to_numpy()), rows["qualified"].to_numpy()
    once = Drawn(model, np.ones((1, len(error))))
    inside = rows.select(pl.col("log_price").is_between("low_log_price", "high_log_price")).to_series().to_numpy()
    low, high = middle(np.concatenate([male_of_all(Drawn(model, weights)) for weights in draws]))
    at = " ".join(f"{once.running.male_at(share)[0, 0]:.4f}" for share in EQUAL_COVERAGES)
    held = f"{inside[qualified].mean():.3f}" if qualified.any() else "–"
    ordered = f"at .3 .5 .7 {at}, AURC {aurc(once)[0]:.4f}, " if gated else ""
    return float(error.mean()), (
        f"{name:58} MALE {error.mean():.4f} [{low:.3f}, {high:.3f}], {ordered}"
        f"coverage {qualified.mean():.3f}, in range {held}"
    )


def write_verdicts(verdicts: Verdicts, out: Path) -> None:
    """Write the predictions as Parquet, whole or not at all."""
    with whole_file(out) as temporary:
        verdicts.predictions.write_parquet(temporary)
