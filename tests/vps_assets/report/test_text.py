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
