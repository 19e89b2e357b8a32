"""What only the demo marketplace can show: its oracle, and which photos have a fault."""

from math import sqrt

import numpy as np
import polars as pl

from vps_assets.demo.catalogue import BROKEN_EFFECT, RECEIPT_EFFECT
from vps_assets.home import Home
from vps_assets.report.comparisons import BY, SIDES, Models, mean, overall, percent, shown
from vps_assets.report.published import Published
from vps_assets.report.tables import Table
from vps_ml.backbones.tasks import can_serve
from vps_ml.evaluation.metrics import aurc, male, risk_coverage
from vps_ml.pricing.chosen import by_words_alone
from vps_ml.pricing.variants import SERVED


def read_truth(home: Home) -> pl.DataFrame | None:
    """The demo marketplace's truth by `listing_id`; None on any other data."""
    path = home.demo / "truth.parquet"
    return pl.read_parquet(path) if path.exists() else None


def oracle(predictions: pl.DataFrame, truth: pl.DataFrame) -> tuple[str, np.ndarray]:
    """(label, risk-coverage curve) of an oracle: it knows each item's worth and how scattered its kind's prices are.

    No model can do better: faulty photos do not mislead it.
    """
    rows = predictions.select("listing_id", "log_price").join(truth, on="listing_id")
    error = (rows["noise_free_log_price"] - rows["log_price"]).to_numpy()
    risk = risk_coverage(error, -rows["noise"].to_numpy(), rows["listing_id"].to_numpy())
    return f"oracle (AURC {risk.mean():.3f})", risk


def eye_log_price(truth: pl.DataFrame) -> pl.DataFrame:
    """The truth with `eye_log_price`: the worth to an eye that sees all there is to see, and is told nothing.

    Defects and receipts are in words alone; to the eye each item is as its category's median in them.
    """
    hidden = (~pl.col("works")).cast(pl.Float64) * BROKEN_EFFECT + pl.col("receipt").cast(pl.Float64) * RECEIPT_EFFECT
    usual = pl.col("_hidden").median().over("true_category")
    seen = pl.col("noise_free_log_price") - pl.col("_hidden") + usual
    return truth.with_columns(_hidden=hidden).with_columns(eye_log_price=seen).drop("_hidden")


def serving_kinds(published: Published) -> pl.DataFrame:
    """The report rows, over all test listings, of the served kind of models by photo, words and both."""
    models = overall(published["words_reports"]).filter(*(pl.col(k) == v for k, v in SERVED.items() if k != "seed"))
    return models.filter(pl.col("features").map_elements(can_serve, pl.Boolean))


def as_served(by_inputs: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Predictions of the same listings by photo, words and both -> the rows of the model whose answer is given."""
    sides = {inputs: rows.sort("listing_id") for inputs, rows in by_inputs.items()}
    said = by_words_alone(*(sides[inputs]["qualification"].to_numpy() for inputs in ("both", "photo", "words")))
    return pl.concat([sides["both"].filter(~said), sides["words"].filter(said)])


def faulty_photo_table(published: Published, truth: pl.DataFrame) -> Table:
    """Whether a listing with a bad photo is priced once its seller says what it is, and how well."""
    judged = published["evaluation_predictions"].join(truth.select("listing_id", "fault"), on="listing_id")
    judged = judged.with_columns(error=pl.col("predicted_log_price") - pl.col("log_price"))
    models, rows = serving_kinds(published), []
    for split in SIDES:
        ways: dict[str, list[pl.DataFrame]] = {}
        for _, seed in models.filter(pl.col("split_kind") == split).group_by("seed", maintain_order=True):
            ids = dict(seed.select("inputs", "model_id").iter_rows())
            mine = {inputs: judged.filter(pl.col("model_id") == ids[inputs]) for inputs in BY if inputs in ids}
            for inputs, predictions in mine.items():
                ways.setdefault(BY[inputs], []).append(predictions)
            if len(mine) == len(BY):
                ways.setdefault("as served", []).append(as_served(mine))
        for way, seeds in ways.items():
            every = pl.concat(seeds)
            sides = (every.filter(pl.col("fault").is_not_null() == faulty) for faulty in (False, True))
            rows.append((SIDES[split], way, *(cell for side in sides for cell in qualified_cells(side))))
    columns = ("split", "by what", "sound photo: qualified", "MALE", "faulty photo: qualified", "MALE")
    note = (
        "No model is told which photos are faulty. As served: by photo and words, but by words alone where that model "
        "and the photo's both refuse, so that fewer listings are refused. MALE is of those that are qualified: others "
        "in each row."
    )
    return Table("A faulty photo, and words beside it", columns, rows, note)


def qualified_cells(predictions: pl.DataFrame) -> tuple[str, str]:
    """(share that is qualified, MALE of these)."""
    taken = predictions.filter("qualified")
    share = taken.height / predictions.height if predictions.height else None
    return f"{percent(share)} of {len(set(predictions['listing_id']))}", shown(
        male(taken["error"].to_numpy()) if taken.height else None
    )


def limit_table(published: Published, truth: pl.DataFrame) -> Table:
    """What photo, words and both reach, beside what an eye and an oracle would, on the same test rows."""
    models, knowing = serving_kinds(published), eye_log_price(truth)
    rows = []
    for split in SIDES:
        mine = models.filter(pl.col("split_kind") == split)
        for inputs in BY:
            own = mine.filter(pl.col("inputs") == inputs)
            if own.height:
                rows.append((SIDES[split], BY[inputs], *(shown(mean(own, name)) for name in ("male_of_all", "aurc"))))
        tested = published["evaluation_predictions"].filter(pl.col("model_id") == mine["model_id"].first())
        judged = tested.select("listing_id", "log_price").join(knowing, on="listing_id")
        for name, column in (("an eye", "eye_log_price"), ("the oracle", "noise_free_log_price")):
            if judged.height:
                error = (judged[column] - judged["log_price"]).to_numpy()
                risk = risk_coverage(error, -judged["noise"].to_numpy(), judged["listing_id"].to_numpy())
                rows.append((SIDES[split], name, shown(male(error)), shown(aurc(risk))))
    note = (
        "Only the demo marketplace has an oracle, which knows each item's worth and how scattered its kind's prices "
        "are. An eye knows the same but for defects and receipts, which no photo shows and words may tell: what lies "
        "between the photo and the eye, the networks do not see. Nothing can go below the oracle but by chance."
    )
    return Table("How much is left to know", ("split", "by what", "MALE of all", "AURC"), rows, note)


def auroc_within(judged: pl.DataFrame) -> float | None:
    """AUROC of `qualification` for photos without a fault, within each category, weighted by its faulty photos."""
    from sklearn.metrics import roc_auc_score

    scores: list[float] = []
    weights: list[int] = []
    for _, part in judged.group_by("category"):
        sound = part["fault"].is_null()
        if 0 < sound.sum() < part.height:
            scores.append(roc_auc_score(sound.to_numpy(), part["qualification"].to_numpy()))
            weights.append(int((~sound).sum()))
    return float(np.average(scores, weights=weights)) if scores else None


def with_interval(auroc: float, judged: pl.DataFrame) -> str:
    """An AUROC within categories (`auroc_within`) with its 95% interval.

    By the standard error of Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982, in
    each category, at the AUROC of all.
    """
    faulty, sound = pl.col("fault").count(), pl.col("fault").null_count()
    sizes = judged.group_by("category").agg(one=faulty, other=sound).filter(pl.col("one") > 0, pl.col("other") > 0)
    if auroc in (0.0, 1.0):
        return f"{auroc:.2f} (too few to tell more)"  # the formula has no variance there
    one, other = (sizes[name].cast(pl.Float64).to_numpy() for name in ("one", "other"))
    squared, q1, q2 = auroc**2, auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = (auroc * (1 - auroc) + (one - 1) * (q1 - squared) + (other - 1) * (q2 - squared)) / (one * other)
    error = 1.96 * sqrt((variance * (one / one.sum()) ** 2).sum())
    return f"{auroc:.2f} ({max(auroc - error, 0):.2f} to {min(auroc + error, 1):.2f})"


def fault_table(published: Published, truth: pl.DataFrame) -> Table:
    """How well each gate separates sound photos from faulty ones of the same category."""
    reports = overall(published["evaluation_reports"], Models(constraint_value=0.5, split_kind="group"))
    reports = reports.sort("objective")
    category = published["clean_listings"].select("listing_id", "category")
    judged = published["evaluation_predictions"].join(category, on="listing_id").join(truth, on="listing_id")
    rows = []
    for (kind, objective), models in reports.group_by("constraint_kind", "objective", maintain_order=True):
        mine = [judged.filter(pl.col("model_id") == model_id) for model_id in models["model_id"]]
        scores = [score for score in map(auroc_within, mine) if score is not None]
        score = with_interval(float(np.mean(scores)), mine[0]) if scores else shown(None)
        faulty = f"{mine[0]['fault'].count()} of {mine[0].height}"
        rows.append((str(objective).replace("_", " "), str(kind), score, faulty))
    note = (
        "How often a sound photo is judged higher than a faulty one of its category, by models and baselines read at "
        "0.5, split by group: 0.5 is chance, less means that faulty photos are judged higher. 95% intervals (Hanley "
        "and McNeil 1982). Only the demo marketplace knows which photos have a fault, and no model does."
    )
    columns = ("model", "constraint", "AUROC", "faulty photos")
    return Table("Does the gate see faulty photos? (AUROC within category)", columns, rows, note)
