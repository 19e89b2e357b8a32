"""The evaluation tables on the terminal."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from vps_assets.errors import printable
from vps_assets.home import Home
from vps_assets.report.headline import headline
from vps_assets.report.published import read_published
from vps_assets.report.shapes import shapes
from vps_assets.report.tables import Table, all_tables
from vps_assets.report.words import words_tables


def shown(table: Table) -> RichTable:
    """The table for the terminal; what is in a cell is text, not markup."""
    note = Text(printable(table.note), "dim") if table.note else None
    rich = RichTable(*table.columns, title=table.title, title_justify="left", caption=note, caption_justify="left")
    for row in table.rows:
        rich.add_row(*(Text(printable(cell)) for cell in row))
    return rich


def print_tables(home: Home) -> None:
    """Print every table, the claims with their verdicts, and the headline."""
    published = read_published(home)
    console = Console(width=140)
    for table in (*all_tables(published), *words_tables(published)):
        console.print(shown(table))
    console.print("Does the shape of the paper's tables hold here?")
    for shape in shapes(published):
        claim = f"  {shape.verdict:>14}  {printable(shape.claim)} "
        console.print(Text.assemble(claim, (f"({printable(shape.figures)})", "dim")))
        if shape.explanation:
            console.print(Text(f"{'':>16}  likeliest reason: {printable(shape.explanation)}", "dim"))
    console.print(Text(f"\n{headline(published)}\nThe data are not the paper's: compare shapes, not figures.\n"))
