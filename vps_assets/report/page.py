"""`vps report`: one self-contained HTML page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.report.figures import data_uri, jpeg, price_histograms_png, risk_coverage_png, thumbnail
from vps_assets.report.published import NothingEvaluated, Published, read_published
from vps_assets.report.tables import all_tables, headline, shapes
from vps_assets.splits import share_of_group
from vps_ml.photos import QUALITY_COLUMNS, PhotoQuality, unqualified_reason
from vps_ml.store import card, whole_file

__all__ = ["NothingEvaluated", "write_report"]

TEMPLATE = Path(__file__).with_name("page.html")
SHOWN = 18
THUMBNAIL_PX = 132
FRAMES = {"too_little_information": "red", "dark": "green", "overexposed": "green", "blurred": "blue"}
"""The paper's colours in Figures 7 and 9."""


@dataclass(frozen=True)
class Picture:
    """One photo of a gallery."""

    source: str
    sold: str
    predicted: str
    reason: str
    frame: str


@dataclass(frozen=True)
class Gallery:
    """Figures 6 to 9."""

    title: str
    pictures: list[Picture]


def gallery_rows(published: Published, kind: str, qualified: bool) -> pl.DataFrame:
    """Test listings that the served objective took or refused at 0.5, an arbitrary but fixed choice of them."""
    reports = published["evaluation_reports"].filter(
        pl.col("segment") == "all",
        pl.col("constraint_kind") == kind,
        pl.col("constraint_value") == 0.5,
        pl.col("objective") == "cross_fitted",
        pl.col("split_kind") == "group",
        pl.col("seed") == 0,
    )
    if reports.is_empty():
        return pl.DataFrame()
    told = (
        published["evaluation_predictions"]
        .filter(pl.col("model_id") == reports["model_id"][0], pl.col("qualified") == qualified)
        .join(published["clean_listings"].select("listing_id", "photo_hash", "currency"), on="listing_id")
        .join(published["image_embeddings"].select("listing_id", *QUALITY_COLUMNS), on="listing_id")
    )
    order = pl.Series("order", [share_of_group(i) for i in told["listing_id"]], dtype=pl.Float64)
    return told.with_columns(order).sort("order")


def picture(row: dict, home: Home) -> Picture:
    reason = ""
    if not row["qualified"]:
        reason = unqualified_reason(PhotoQuality(*(row[name] for name in QUALITY_COLUMNS)))
    return Picture(
        source=data_uri(jpeg(thumbnail(home.photo(row["photo_hash"]), THUMBNAIL_PX)), "jpeg"),
        sold=f"{exp(row['log_price']):,.0f}",
        predicted=f"{exp(row['predicted_log_price']):,.0f}",
        reason=reason.replace("_", " "),
        frame=FRAMES.get(reason, "none"),
    )


def galleries(published: Published, home: Home) -> list[Gallery]:
    """Qualified items with sold and predicted price; unqualified ones sorted by what is wrong with the photo."""
    made = []
    numbers = {("percentile", True): 6, ("percentile", False): 7, ("threshold", True): 8, ("threshold", False): 9}
    for (kind, qualified), number in numbers.items():
        rows = gallery_rows(published, kind, qualified)
        pictures = [picture(row, home) for row in rows.head(SHOWN if qualified else 4 * SHOWN).to_dicts()]
        if not qualified:
            order = list(FRAMES)
            by_reason = {name: [p for p in pictures if p.reason == name.replace("_", " ")] for name in order}
            pictures = [p for name in order for p in by_reason[name][: SHOWN // 3]]
        symbol = "δ" if kind == "percentile" else "ε"
        side = "Qualified" if qualified else "Unqualified"
        made.append(Gallery(f"Figure {number}. {side} items, {kind} constraint, {symbol} = 0.5", pictures))
    return made


def write_report(home: Home) -> Path:
    """Write the page under `VPS_HOME/reports`; its path.

    Raises:
        NothingEvaluated: there is no evaluation yet.
    """
    from jinja2 import Environment, StrictUndefined

    published = read_published(home)
    clean = published["clean_listings"]
    figures = {
        "prices": data_uri(
            price_histograms_png(published["raw_listings"]["sold_price"].drop_nulls(), clean["log_price"].drop_nulls())
        ),
        "risk": data_uri(risk_coverage_png(published["evaluation_reports"], published["evaluation_predictions"])),
    }
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text())
    suggestions = published["price_suggestions"]
    page = template.render(
        headline=headline(published),
        tables=all_tables(published),
        shapes=shapes(published),
        galleries=galleries(published, home),
        figures=figures,
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        recipes=[card(home.path / path)["recipe"]["name"] for path in published["champion_model"]["path"]],
        listings=clean.height,
        days=clean["listed_on"].n_unique(),
        quarantined=published["quarantined_listings"].height,
        open=suggestions.height,
        priced=int(suggestions["qualified"].sum()) if suggestions.height else 0,
        champion=published["champion_model"].to_dicts(),
    )
    target = home.path / "reports" / "evaluation.html"
    with whole_file(target) as temporary:
        temporary.write_text(page)
    return target
