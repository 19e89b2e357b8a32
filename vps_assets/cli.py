"""The command line, `vps`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import duckdb
import polars as pl
import typer

from vps_assets.home import Home, WrongSetting
from vps_assets.landing.files import RefusedFile
from vps_assets.warehouse.database import WarehouseBusy
from vps_ml.allocator import keep_freed_memory
from vps_ml.recipes import Recipe, recipe_named

app = typer.Typer(
    help="Price suggestions for second-hand items from their photos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DATES = ["%Y-%m-%d"]


class UsersMistake(Exception):
    """Something that the user can put right; exit 2."""


def tell(message: str) -> None:
    """Progress goes to stderr: stdout is for results."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit 2 for the user's mistakes and 1 for failures, each said in one line on stderr."""
    from sqlalchemy.exc import SQLAlchemyError

    from vps_assets.orchestration.run import RunFailed

    try:
        yield
    except (UsersMistake, RefusedFile, WrongSetting) as error:
        tell(f"vps: {error}")
        raise typer.Exit(2) from error
    except (RunFailed, WarehouseBusy, OSError, duckdb.Error, pl.exceptions.PolarsError) as error:
        tell(f"vps: {' '.join(str(error).split())}")
        raise typer.Exit(1) from error
    except SQLAlchemyError as error:  # Dagster's own records, under $VPS_HOME/dagster
        tell(f"vps: Dagster's records: {' '.join(str(getattr(error, 'orig', None) or error).split())}")
        raise typer.Exit(1) from error


def chosen_recipe() -> Recipe:
    try:
        return recipe_named(os.environ.get("VPS_RECIPE") or "demo", os.environ.get("VPS_WEIGHTS") or None)
    except ValueError as error:
        raise UsersMistake(f"VPS_RECIPE: {error}") from error


@app.command()
def demo(
    listings: Annotated[int, typer.Option(help="How many listings the marketplace has.", min=300)] = 5400,
    seed: Annotated[int, typer.Option(help="The same seed draws the same marketplace.")] = 0,
) -> None:
    """Make a small marketplace with photos, land it, materialise the whole lineage, print the tables."""
    from vps_assets.demo.market import make_market
    from vps_assets.landing.land import land

    with one_line_errors():
        home = Home.from_environment()
        folder = make_market(home.path / "demo", listings, seed, tell)
        told = land([folder / "listings.parquet"], folder, home, tell)
        tell_landings(told)
        materialise(home, None, None, None, 1)
        from vps_assets.report.terminal import print_tables

        print_tables(home)
        print("Next: `vps report` writes the report, `make ui` opens the Dagster UI on http://127.0.0.1:3000")


@app.command(name="land")
def land_command(
    files: Annotated[list[Path], typer.Argument(help="Parquet, CSV or JSON Lines files.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the photos; by default beside each file.")] = None,
) -> None:
    """Check and land listings; landing a file twice changes nothing."""
    from vps_assets.landing.land import land

    with one_line_errors():
        if images is not None and not images.is_dir():
            raise UsersMistake(f"--images: there is no folder {images}")
        tell_landings(land(files, images, Home.from_environment(), tell))


def tell_landings(landings: list) -> None:
    for landing in landings:
        if landing.unknown_columns:
            tell(f"warning: {landing.source_file}: unknown columns are kept out: {', '.join(landing.unknown_columns)}")
        again = ", all of it landed before: nothing changed" if landing.already_landed else ""
        print(f"{landing.source_file}: {landing.rows:,} rows, {landing.bad:,} of them bad (to be quarantined){again}")


@app.command()
def run(
    select: Annotated[str | None, typer.Option(help="Assets, as A,B+,+C; `+` takes up- or downstream along.")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=DATES, help="First listing date.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=DATES, help="Last listing date.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds the models are trained with.", min=1, max=100)] = 1,
) -> None:
    """Materialise the lineage, or the part selected, on what has landed."""
    with one_line_errors():
        materialise(Home.from_environment(), select, first, last, seeds)


def materialise(home: Home, select: str | None, first: datetime | None, last: datetime | None, seeds: int) -> None:
    """Run the lineage and say how it went."""
    from vps_assets.lineage.graph import selected
    from vps_assets.orchestration.run import Request, run_lineage

    if not list(home.landing.glob("*.parquet")):
        raise UsersMistake(f"nothing has landed in {home.path}: run `vps land FILE` or `vps demo` first")
    if first and last and first > last:
        raise UsersMistake(f"--from {first.date()} is after --to {last.date()}")
    try:
        selected(select)
    except ValueError as error:
        raise UsersMistake(str(error)) from error
    request = Request(select, first and first.date(), last and last.date(), seeds)
    done = run_lineage(home, chosen_recipe(), request, tell)
    if done:
        print(f"Done: {done} Dagster runs. The tables are in {home.analytics}")
    else:
        part = "every asset" if request == Request() else "what was asked for"
        print(f"Nothing had to be done: {part} is up to date with what has landed.")


@app.command()
def suggest(
    image: Annotated[Path, typer.Argument(help="The photo: JPEG, PNG or WebP.")],
    category: Annotated[str, typer.Option(help="The item's category.")],
    seller: Annotated[str | None, typer.Option(help="The seller, if known.")] = None,
) -> None:
    """Suggest a price for one photo, as JSON on stdout."""
    from vps_assets.commands.suggest import NoChampion, suggest_one

    with one_line_errors():
        if not image.is_file():
            raise UsersMistake(f"there is no photo {image}")
        try:
            print(suggest_one(image, category, seller, Home.from_environment()))
        except (NoChampion, ValueError) as error:
            raise UsersMistake(str(error)) from error


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="A model id of champion_history; else the champion before.")] = None,
) -> None:
    """Put the champion before in force again, and price the open listings with it."""
    from vps_assets.commands.rollback import NothingToRollBackTo, roll_back

    with one_line_errors():
        try:
            now, before = roll_back(Home.from_environment(), chosen_recipe(), to, tell)
        except NothingToRollBackTo as error:
            raise UsersMistake(str(error)) from error
        print(f"{now} prices open listings again, instead of {before}, which is not promoted any more.")


@app.command()
def forget(
    seller: Annotated[str, typer.Option(help="The seller's id, as it landed.")],
) -> None:
    """Erase a seller: rows, photos and what was made of them; says which models had learnt from them."""
    from vps_assets.commands.forget import NothingToForget, NotYet
    from vps_assets.commands.forget import forget as carry_out

    with one_line_errors():
        try:
            gone = carry_out(Home.from_environment(), chosen_recipe(), seller, tell)
        except (NothingToForget, NotYet) as error:
            raise UsersMistake(str(error)) from error
        kept = f" ({gone.shared_photos} are other sellers' too, and stay)" if gone.shared_photos else ""
        print(f"Forgotten: {gone.listings:,} listings and {gone.photos:,} photos of seller {seller}{kept}.")
        for file in gone.unread:
            print(f"look yourself, it cannot be read and has the seller's id in it: {file}")
        for kind, models in gone.models.items():
            print(f"learnt from them before, {kind}: {', '.join(models)}")
        if gone.models:
            print("`vps run --select price_bounds+` fits everything anew, without them. Backups are yours to erase.")


@app.command()
def doctor() -> None:
    """Say in ten lines whether the state is healthy, and what to do; exit 1 where something does not work."""
    from vps_assets.commands.doctor import BAD, examined

    with one_line_errors():
        findings = examined(Home.from_environment(), chosen_recipe())
        for finding in findings:
            print(finding)
        if any(finding.state == BAD for finding in findings):
            raise typer.Exit(1)


@app.command()
def report() -> None:
    """Write the evaluation report, one HTML file, and print its path."""
    from vps_assets.report.page import NothingEvaluated, write_report

    with one_line_errors():
        try:
            print(write_report(Home.from_environment()))
        except NothingEvaluated as error:
            raise UsersMistake(str(error)) from error


def main() -> None:
    """Run the command line; what typer has to say of wrong arguments is one line too."""
    keep_freed_memory()
    try:
        sys.exit(app(standalone_mode=False))
    except Exception as error:
        said = getattr(error, "format_message", None)  # of typer's usage errors
        if said is None:
            raise
        tell(f"vps: {' '.join(said().split())} (see vps --help)")
        sys.exit(2)
