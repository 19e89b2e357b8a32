"""`vps report`: one self-contained HTML page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp
from pathlib import Path

import polars as pl

from vps_assets.home import Home
from vps_assets.report import figures as draw
from vps_assets.report.changes import change_tables
from vps_assets.report.comparisons import Models, overall
from vps_assets.report.figures import data_uri, jpeg, thumbnail
from vps_assets.report.headline import headline
from vps_assets.report.model_cards import ModelCard, all_reports, model_cards
from vps_assets.report.published import Published, read_published
from vps_assets.report.selling import selling_tables
from vps_assets.report.shapes import shapes
from vps_assets.report.tables import Table, all_tables
from vps_assets.report.truth import fault_table, faulty_photo_table, limit_table, oracle, read_truth
from vps_assets.report.words import words_tables
from vps_assets.tables.splits import in_fixed_order
from vps_ml.atomic import whole_file
from vps_ml.photos.quality import QUALITY_COLUMNS, PhotoQuality, unqualified_reason
from vps_ml.pricing.variants import SERVED, SYMBOLS

TEMPLATE, STYLE = (Path(__file__).with_name(name) for name in ("page.html", "style.css"))
"""The style is that of the seller's page, too."""
SHOWN = 18
THUMBNAIL_PX, TITLE_CHARACTERS = 132, 60
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
    title: str
    """As its seller calls it; "" where nothing is said."""


@dataclass(frozen=True)
class Gallery:
    """Figures 6 to 9."""

    title: str
    pictures: list[Picture]


def gallery_rows(published: Published, kind: str, qualified: bool) -> pl.DataFrame:
    """Test listings that the served objective took or refused at 0.5, an arbitrary but fixed choice of them."""
    models = Models(kind, 0.5, "cross_fitted", "group", seed=0)
    reports = overall(published["evaluation_reports"], models)
    if reports.is_empty():
        return pl.DataFrame()
    rows = (
        published["evaluation_predictions"]
        .filter(pl.col("model_id") == reports["model_id"][0], pl.col("qualified") == qualified)
        .join(published["clean_listings"].select("listing_id", "photo_hash", "currency", "title"), on="listing_id")
        .join(published["image_embeddings"].select("listing_id", *QUALITY_COLUMNS), on="listing_id")
    )
    return in_fixed_order(rows)


def shortened(text: str, most: int) -> str:
    """The text, cut where it is longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def picture(row: dict, home: Home) -> Picture:
    reason = ""
    if not row["qualified"]:
        reason = unqualified_reason(PhotoQuality(*(row[name] for name in QUALITY_COLUMNS)))
    return Picture(
        source=data_uri(jpeg(thumbnail(home.artefacts.photo(row["photo_hash"]), THUMBNAIL_PX)), "jpeg"),
        sold=f"{exp(row['log_price']):,.0f}",
        predicted=f"{exp(row['predicted_log_price']):,.0f}",
        reason=reason.replace("_", " "),
        frame=FRAMES.get(reason, "none"),
        title=shortened(row["title"] or "", TITLE_CHARACTERS),
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
        side = "Qualified" if qualified else "Unqualified"
        made.append(Gallery(f"Figure {number}. {side} items, {kind} constraint, {SYMBOLS[kind]} = 0.5", pictures))
    return made


@dataclass(frozen=True)
class Drawing:
    """A figure of the page."""

    title: str
    source: str
    caption: str


def served_predictions(published: Published) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(report rows by segment, predictions with category) of the served kind of model, split by group, seed 0."""
    served = [pl.col(name) == value for name, value in SERVED.items()]
    reports = published["evaluation_reports"].filter(pl.col("split_kind") == "group", *served)
    predictions = published["evaluation_predictions"].filter(pl.col("model_id").is_in(reports["model_id"].implode()))
    category = published["clean_listings"].select("listing_id", "category")
    return reports, predictions.join(category, on="listing_id")


def drawings(published: Published, truth: pl.DataFrame | None) -> list[Drawing]:
    """The figures that come before the galleries."""
    clean, raw = published["clean_listings"], published["raw_listings"]
    reports, predictions = published["evaluation_reports"], published["evaluation_predictions"]
    segments, served = served_predictions(published)
    level = reports["range_level"][0]
    made = [
        (
            "Figure 3. Sold prices before and after cleaning",
            draw.price_histograms_png(raw["sold_price"].drop_nulls(), clean["log_price"].drop_nulls()),
            "",
        )
    ]
    for split in ("group", "time"):
        of_split = overall(reports, Models(split_kind=split))["model_id"].implode()
        tested = predictions.filter(pl.col("model_id").is_in(of_split)).unique("listing_id")
        bound = None if truth is None or tested.is_empty() else oracle(tested, truth)
        made.append(
            (
                f"Risk and coverage, models at 0.5, split by {split}",
                draw.risk_coverage_png(reports, predictions, split, bound),
                "Lower is better. The oracle knows each item's worth and how scattered its kind's prices are; only the "
                "demo marketplace has one."
                if bound
                else "Lower is better.",
            )
        )
    what = (
        f"The served kind of model ({SERVED['objective']}, δ = {SERVED['constraint_value']}), split by group, seed 0."
    )
    if served["category"].n_unique() > draw.MOST_CATEGORIES:
        what += f" The {draw.MOST_CATEGORIES} categories with the most test items."
    ablations = overall(published["ablation_reports"]).filter(pl.col("ablation") != "tuning")
    seeds = ablations["seed"].n_unique()
    by_seed = f"{seeds} seeds; bars: standard errors."
    made += [
        (
            f"Calibration of the {100 * level:.0f}% price range",
            draw.range_coverage_png(segments, level),
            f"{what} Bars: what chance allows around the promised share, three standard errors.",
        ),
        (
            "Error by category and by price",
            draw.error_png(served),
            f"{what} No bar of the qualified where they are fewer than {draw.FEWEST_SHOWN}.",
        ),
        ("Ablations", draw.ablation_png(ablations), "One seed: no bars." if seeds == 1 else by_seed),
        (
            "Photos made worse on purpose",
            draw.corruption_png(published["corruption_reports"]),
            "Mean qualification by the champion of the same test photos, blurred, darkened or cropped; bars: standard "
            "errors of its change from the photos as they are; dashed: from there on an item has a price. A photo that "
            "shows nothing has none, whatever the gate says: here and in the claims it counts 0, in the models' own "
            "figures as the gate says.",
        ),
    ]
    return [Drawing(title, data_uri(content), caption) for title, content, caption in made]


def cards(published: Published, home: Home) -> list[ModelCard]:
    """A card of each model in force."""
    reports = all_reports(published["evaluation_reports"], published["words_reports"])
    return model_cards(published["champion_model"], reports, home.artefacts.models.told)


def table_groups(published: Published, truth: pl.DataFrame | None) -> list[tuple[str, list[Table]]]:
    """(heading, its tables)."""
    groups = [
        ("What changed", change_tables(published)),
        ("The paper's tables, and what a user would choose instead", all_tables(published)),
        ("Words", words_tables(published)),
        ("Beside a price", selling_tables(published, truth)),
    ]
    if truth is not None:
        made = (limit_table, faulty_photo_table, fault_table)
        groups.append(("What only the demo can tell", [table(published, truth) for table in made]))
    return groups


def write_report(home: Home) -> Path:
    """Write the page; its path.

    Raises:
        NothingEvaluated: there is no evaluation yet.
    """
    from jinja2 import Environment, StrictUndefined

    published, truth = read_published(home), read_truth(home)
    clean = published["clean_listings"]
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text())
    suggestions = published["price_suggestions"]
    models = home.artefacts.models
    page = template.render(
        style=STYLE.read_text(),
        headline=headline(published),
        groups=table_groups(published, truth),
        shapes=shapes(published),
        galleries=galleries(published, home),
        drawings=drawings(published, truth),
        seeds=published["evaluation_reports"]["seed"].n_unique(),
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        recipes=sorted(
            {models.card(model_id)["recipe"]["name"] for model_id in published["champion_model"]["model_id"]}
        ),
        listings=clean.height,
        days=clean["listed_on"].n_unique(),
        quarantined=published["quarantined_listings"].height,
        open=suggestions.height,
        priced=int(suggestions["qualified"].sum()) if suggestions.height else 0,
        cards=cards(published, home),
    )
    with whole_file(home.report) as temporary:
        temporary.write_text(page)
    return home.report
