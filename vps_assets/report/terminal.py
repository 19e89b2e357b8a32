"""The evaluation tables on the terminal."""

from rich.console import Console
from rich.table import Table as RichTable

from vps_assets.home import Home
from vps_assets.report.published import read_published
from vps_assets.report.shapes import shapes
from vps_assets.report.tables import all_tables, headline


def print_tables(home: Home) -> None:
    """Print every table, the claims with their verdicts, and the headline."""
    published = read_published(home)
    console = Console(width=140)
    for table in all_tables(published):
        shown = RichTable(*table.columns, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    console.print("Does the shape of the paper's tables hold here?")
    for shape in shapes(published):
        console.print(f"  {shape.verdict:>14}  {shape.claim} [dim]({shape.figures})[/dim]")
        if shape.explanation:
            console.print(f"{'':>16}  [dim]likeliest reason: {shape.explanation}[/dim]")
    console.print(f"\n{headline(published)}\nThe data are not the paper's: compare shapes, not figures.\n")
