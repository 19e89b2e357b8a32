"""Text of sellers is text: no formula in a figure, no markup or command on the terminal."""

import io
import warnings

import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from vps_assets.report import figures
from vps_assets.report.tables import Table
from vps_assets.report.terminal import shown

ODD = ["$x^$", "$", r"a\$b", r"\frac{", "$\\foo$ and $", "[/bold]", "[red]x", "\x1b[31mred", "{x}", "%s"]


def test_any_category_is_drawn_as_it_is_written() -> None:
    one = pl.lit(1.0)
    judged = pl.DataFrame({"category": ODD}).with_columns(log_price=one, predicted_log_price=one, qualified=True)
    segments = pl.DataFrame({"segment": ODD}).with_columns(qualified=5, range_coverage=one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a glyph that the font lacks
        for png in (figures.error_png(judged), figures.range_coverage_png(segments, 0.8)):
            assert Image.open(io.BytesIO(png)).size[0] > 100


def test_of_hundreds_of_categories_those_with_the_most_items_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(figures, "plain", lambda text: drawn.append(text) or str(text))
    names = [f"c{number:03}" for number in range(200)]
    counts = [1 if number % 10 else 2 for number in range(200)]
    one = pl.lit(1.0)
    judged = pl.DataFrame({"category": names}).select(pl.col("category").repeat_by(pl.Series(counts)).explode())
    figures.error_png(judged.with_columns(log_price=pl.col("category").rank(), predicted_log_price=one, qualified=True))
    segments = pl.DataFrame({"segment": names, "qualified": counts}).with_columns(range_coverage=one)
    figures.range_coverage_png(segments, 0.8)
    names_drawn = [text for text in drawn if str(text).startswith("c")]
    assert len(names_drawn) == 2 * figures.MOST_CATEGORIES
    assert drawn[: figures.MOST_CATEGORIES] == sorted(drawn[: figures.MOST_CATEGORIES])
    assert figures.range_coverage_png(segments.reverse(), 0.8) == figures.range_coverage_png(segments, 0.8)
    assert {name for name, count in zip(names, counts, strict=True) if count == 2} <= set(names_drawn)


def test_a_range_is_drawn_with_how_many_it_was_held_against_that_of_all_first(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_xticks", lambda axis, places, names, **how: labels.extend(names))
    segments = {
        "segment": ["accessory", "all", "shoe"],
        "qualified": [7, 1007, 1000],
        "range_coverage": [0.7, 0.8, 0.8],
    }
    figures.range_coverage_png(pl.DataFrame(segments), 0.8)
    assert labels == ["all (1,007)", "accessory (7)", "shoe (1,000)"]


def test_a_price_in_dollars_is_no_formula() -> None:
    from matplotlib.cbook import is_math_text

    assert not any(is_math_text(figures.plain(text)) for text in ODD)
    assert is_math_text("$x^$")


@pytest.mark.parametrize("category", ODD)
def test_any_category_is_printed_as_it_is_written(category: str) -> None:
    console = Console(record=True, file=io.StringIO(), width=200, force_terminal=True)
    console.print(shown(Table("by category", ["category"], [[category]], "")))
    text = console.export_text()
    assert category.replace("\x1b", r"\x1b") in text
    assert "\x1b[31m" not in text
