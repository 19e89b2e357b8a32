"""Figures, for Dagster's metadata and for the report."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from PIL import Image, ImageOps

from vps_assets.errors import printable
from vps_ml.evaluation.metrics import risk_coverage
from vps_ml.photos.decoding import open_photo
from vps_ml.pricing.calibration import ALL

WIDTH, DPI = 4.8, 160
"""Of a figure, in inches, and its pixels an inch."""
SLANTED = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": 9}
"""Labels of categories."""
MOST_CATEGORIES = 40
"""That a figure shows: those with the most test items. Nobody reads the labels of hundreds."""
FEWEST_SHOWN = 10
"""Qualified test items that a bar needs: a mean of fewer is anything."""
BLUE, GREY = "#2b6cb0", "#95a5a6"


def figure(height: float = 3.0, panels: int = 1) -> tuple[Any, Any]:
    """A figure without a screen, and its axes, one below another.

    It is as wide as a phone's screen: a wider one is shrunk there, and nobody reads its labels.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(WIDTH, height * panels), layout="constrained")
    axes = drawing.subplots(panels, 1)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def plain(text: object) -> str:
    """A text that matplotlib shows as it is: between two dollars it would set a formula."""
    return printable(str(text)).replace("$", r"\$")


def png(drawing: Any) -> bytes:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture(content: bytes, kind: str = "png") -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![figure]({data_uri(content, kind)})")


def price_histograms_png(prices: pl.Series, log_prices: pl.Series) -> bytes:
    """Figure 3: the sold prices as they came (a), and the logs of those that are kept (b)."""
    drawing, (above, below) = figure(2.4, 2)
    if prices.len():
        above.hist(prices.to_numpy(), bins=60, color=GREY)
        above.set_yscale("log")
    if log_prices.len():
        below.hist(log_prices.to_numpy(), bins=40, color=BLUE)
    above.set(title="(a) sold price, as landed", xlabel="price", ylabel="listings (log scale)")
    below.set(title="(b) log price, cleaned", xlabel="ln price")
    return png(drawing)


def price_histograms(prices: pl.Series, log_prices: pl.Series) -> dg.MarkdownMetadataValue:
    return picture(price_histograms_png(prices, log_prices))


def loss_curves(curves: Mapping[str, Sequence[float]]) -> dg.MarkdownMetadataValue:
    """Training loss by epoch, each task's over its first, since their units differ."""
    drawing, axis = figure()
    for task, losses in curves.items():
        axis.plot(range(1, len(losses) + 1), np.array(losses) / max(losses[0], 1e-9), marker="o", label=task)
    axis.set(xlabel="epoch", ylabel="training loss over that of epoch 1")
    if curves:
        axis.legend(frameon=False)
    return picture(png(drawing))


def training_curves(curves: Sequence[tuple[str, Mapping[str, Any]]]) -> dg.MarkdownMetadataValue:
    """Each network's training and held-out loss by epoch, a panel for each kind.

    Args:
        curves: (name, `vps_ml.training_loop.Curve` as described) of each network, one at least.
    """
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for name, losses in curves:
        kinds.setdefault("fold networks" if name.startswith("fold ") else name, []).append(losses)
    drawing, axes = figure(2.4, len(kinds))
    for axis, (kind, mine) in zip(np.atleast_1d(axes), kinds.items(), strict=True):
        for name, colour in (("training", GREY), ("held_out", BLUE)):
            for number, losses in enumerate(losses for losses in mine if losses[name]):
                label = name.replace("_", " ") if number == 0 else None
                epochs = [1 + losses["step"] * number for number in range(len(losses[name]))]
                axis.plot(epochs, losses[name], color=colour, linewidth=0.8, label=label)
        axis.set(title=kind, xlabel="epoch", ylabel="loss")
        axis.legend(frameon=False)
    return picture(png(drawing))


def thumbnail(path: Path, side_px: int) -> Image.Image:
    return ImageOps.fit(open_photo(path), (side_px, side_px))


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def contact_sheet(paths: Sequence[Path], side_px: int = 96, columns: int = 8) -> dg.MarkdownMetadataValue:
    """Photos side by side."""
    rows = max(1, -(-len(paths) // columns))
    sheet = Image.new("RGB", (columns * side_px, rows * side_px), "white")
    for i, path in enumerate(paths):
        sheet.paste(thumbnail(path, side_px), (i % columns * side_px, i // columns * side_px))
    return picture(jpeg(sheet), "jpeg")


def risk_coverage_png(
    reports: pl.DataFrame, predictions: pl.DataFrame, split_kind: str = "group", bound: tuple[str, Any] | None = None
) -> bytes:
    """MALE against coverage for the models at δ = 0.5 and the baselines, on the same test rows.

    `bound`: label and curve of what no model can beat, if that is known.
    """
    drawing, axis = figure(4.4)
    chosen = reports.filter(
        pl.col("segment") == "all",
        pl.col("split_kind") == split_kind,
        pl.col("constraint_kind") != "threshold",
        pl.col("constraint_value") == 0.5,
        pl.col("seed") == 0,
    )
    curves: list[tuple[str, Any]] = [bound] if bound else []
    for row in chosen.sort("objective").to_dicts():
        mine = predictions.filter(pl.col("model_id") == row["model_id"])
        error = (mine["predicted_log_price"] - mine["log_price"]).to_numpy()
        curve = risk_coverage(error, mine["qualification"].to_numpy(), mine["listing_id"].to_numpy())
        curves.append((f"{row['objective'].replace('_', ' ')} (AURC {row['aurc']:.3f})", curve))
    for label, curve in curves:
        start = max(1, curve.size // 20)
        axis.plot((np.arange(1, curve.size + 1) / curve.size)[start:], curve[start:], label=label)
    axis.set(xlabel="coverage", ylabel="MALE of the most qualified", xlim=(0, 1))
    if curves:
        drawing.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return png(drawing)


def risk_coverage_curves(reports: pl.DataFrame, predictions: pl.DataFrame) -> dg.MarkdownMetadataValue:
    return picture(risk_coverage_png(reports, predictions))


def range_coverage_png(by_segment: pl.DataFrame, level: float) -> bytes:
    """Share of qualified test items sold within their range, by category, and what chance allows.

    That is three standard errors on both sides of the level. All first, then the categories, each with how many it has;
    of more than `MOST_CATEGORIES` those with the most. Columns: segment, qualified, range_coverage.
    """
    drawing, axis = figure(3.6)
    by_number = by_segment.drop_nulls("range_coverage").sort("qualified", "segment", descending=[True, False])
    rows = by_number.head(MOST_CATEGORIES).sort(pl.col("segment") != ALL, "segment")
    error = 3 * np.sqrt(level * (1 - level) / np.maximum(rows["qualified"].to_numpy(), 1))
    chance = [np.minimum(error, level), np.minimum(error, 1 - level)]
    place = np.arange(rows.height)
    axis.errorbar(place, np.full(rows.height, level), chance, fmt="none", color=GREY, capsize=3)
    axis.plot(place, rows["range_coverage"].to_numpy(), "o", color=BLUE)
    labels = [f"{plain(name)} ({count:,})" for name, count in rows.select("segment", "qualified").iter_rows()]
    axis.set_xticks(place, labels, **SLANTED)
    axis.axhline(level, color=GREY, linestyle="--")
    axis.set(ylabel="sold within the range", ylim=(0, 1.05))
    return png(drawing)


def error_png(judged: pl.DataFrame) -> bytes:
    """MALE of all and of the qualified test items, by category and by decile of the sold price.

    Of more than `MOST_CATEGORIES` those with the most of them. Columns: category, log_price, predicted_log_price,
    qualified.
    """
    drawing, (above, below) = figure(3.0, 2)
    error = (pl.col("predicted_log_price") - pl.col("log_price")).abs()
    decile = (pl.col("log_price").rank("ordinal") - 1) * 10 // pl.len() + 1
    rows = judged.with_columns(error=error, decile=decile.cast(pl.Int64))
    for axis, key in ((above, "category"), (below, "decile")):
        taken = pl.col("qualified").sum()
        accepted = pl.when(taken >= FEWEST_SHOWN).then(pl.col("error").filter(pl.col("qualified")).mean())
        means = rows.group_by(key).agg(pl.mean("error"), accepted=accepted, tested=pl.len())
        means = means.sort("tested", key, descending=[True, False]).head(MOST_CATEGORIES).sort(key)
        place = np.arange(means.height)
        axis.bar(place - 0.2, means["error"].to_numpy(), 0.4, color=GREY, label="all")
        axis.bar(place + 0.2, means["accepted"].fill_null(float("nan")).to_numpy(), 0.4, color=BLUE, label="qualified")
        axis.set_xticks(place, list(map(plain, means[key])), **(SLANTED if key == "category" else {}))
        axis.set(title=f"by {key.replace('decile', 'decile of the sold price')}", ylabel="MALE")
    below.legend(frameon=False)
    return png(drawing)


def ablation_png(ablations: pl.DataFrame) -> bytes:
    """AURC of the ablations' models over their seeds, with standard errors.

    Columns of the table `ablation_reports`, rows over all test listings.
    """
    drawing, axes = figure(2.6, 2)
    for axis, kind in zip(axes, ("percentile", "threshold"), strict=True):
        mine = ablations.filter(pl.col("constraint_kind") == kind).unique(["model_id"])
        spread = pl.col("aurc").std() / pl.len().sqrt()
        means = mine.group_by("features", "warm_up").agg(pl.mean("aurc"), error=spread).sort("aurc")
        names = [f"{f}, {'warm-up' if w else 'no warm-up'}" for f, w in means.select("features", "warm_up").iter_rows()]
        bars = means["error"].fill_null(0.0).to_numpy()
        axis.errorbar(means["aurc"].to_numpy(), names, xerr=bars, fmt="o", color=BLUE, capsize=3)
        axis.set(title=f"{kind}, 0.5", xlabel="AURC (less is better)")
        axis.margins(y=0.3)
    return png(drawing)


def corruption_png(corruptions: pl.DataFrame) -> bytes:
    """Mean qualification of the same test photos against how badly they were corrupted."""
    drawing, axis = figure()
    for (name,), rows in corruptions.sort("severity").group_by("corruption", maintain_order=True):
        severity, error = rows["severity"].to_list(), rows["change_error"].to_numpy()
        axis.errorbar(severity, rows["qualification"].to_numpy(), error, marker="o", capsize=3, label=str(name))
    axis.axhline(0.5, color=GREY, linestyle="--")
    axis.set(xlabel="severity (0: the photo as it is)", ylabel="mean qualification", xticks=range(5), ylim=(0, 1))
    if corruptions.height:
        axis.legend(frameon=False)
    return png(drawing)
