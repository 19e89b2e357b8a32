"""What only the demo marketplace can show: its oracle, and which photos have a fault."""

import numpy as np
import polars as pl

from vps_assets.home import Home
from vps_assets.report.comparisons import Models, overall, shown
from vps_assets.report.published import Published
from vps_assets.report.tables import Table
from vps_ml.evaluation.metrics import risk_coverage


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
        rows.append((str(objective).replace("_", " "), str(kind), shown(float(np.mean(scores)) if scores else None)))
    note = "0.5 is chance; only the demo marketplace knows which photos have a fault, and no model does."
    return Table(
        "Does the gate see faulty photos? (AUROC within category)", ("model", "constraint", "AUROC"), rows, note
    )
