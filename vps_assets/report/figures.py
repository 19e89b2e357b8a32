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

from vps_ml.metrics import risk_coverage

INK, BLUE, RED, GREY = "#22313f", "#2b6cb0", "#c0392b", "#95a5a6"


def figure(width: float = 7.0, height: float = 3.0, columns: int = 1) -> tuple[Any, Any]:
    """A figure without a screen, and its axes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    axes = drawing.subplots(1, columns)
    for axis in np.atleast_1d(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return drawing, axes


def png(drawing: Any) -> bytes:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture(content: bytes, kind: str = "png") -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![figure]({data_uri(content, kind)})")


def price_histograms_png(prices: pl.Series, log_prices: pl.Series) -> bytes:
    """Figure 3: the sold prices as they came (a), and the logs of those that are kept (b)."""
    drawing, (left, right) = figure(8, 3, 2)
    if prices.len():
        left.hist(prices.to_numpy(), bins=60, color=GREY)
        left.set_yscale("log")
    if log_prices.len():
        right.hist(log_prices.to_numpy(), bins=40, color=BLUE)
    left.set(title="(a) sold price, as landed", xlabel="price", ylabel="listings (log scale)")
    right.set(title="(b) log price, cleaned", xlabel="ln price")
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


def thumbnail(path: Path, side_px: int) -> Image.Image:
    from vps_ml.photos import open_photo

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


def risk_coverage_png(reports: pl.DataFrame, predictions: pl.DataFrame, split_kind: str = "group") -> bytes:
    """MALE against coverage for the models at δ = 0.5 and the boosted trees, on the same test rows."""
    drawing, axis = figure(7, 3.4)
    chosen = reports.filter(
        pl.col("segment") == "all",
        pl.col("split_kind") == split_kind,
        pl.col("constraint_kind") != "threshold",
        pl.col("constraint_value") == 0.5,
        pl.col("seed") == 0,
    )
    for row in chosen.sort("objective").to_dicts():
        mine = predictions.filter(pl.col("model_id") == row["model_id"])
        error = (mine["predicted_log_price"] - mine["log_price"]).to_numpy()
        curve = risk_coverage(error, mine["qualification"].to_numpy(), mine["listing_id"].to_numpy())
        start = max(1, curve.size // 20)
        coverage = np.arange(1, curve.size + 1) / curve.size
        label = f"{row['objective'].replace('_', ' ')} (AURC {row['aurc']:.3f})"
        axis.plot(coverage[start:], curve[start:], label=label)
    axis.set(xlabel="coverage", ylabel="MALE of the most qualified", xlim=(0, 1))
    if chosen.height:
        axis.legend(frameon=False)
    return png(drawing)


def risk_coverage_curves(reports: pl.DataFrame, predictions: pl.DataFrame) -> dg.MarkdownMetadataValue:
    return picture(risk_coverage_png(reports, predictions))
