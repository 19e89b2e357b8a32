"""The command line, `vps`."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import duckdb
import polars as pl
import typer

from vps_assets import interruption
from vps_assets.errors import UserError, VpsError, one_line, printable, tell
from vps_assets.home import Home, private_files, recipe_from_environment
from vps_ml.allocator import keep_freed_memory
from vps_ml.buckets import NoBucket
from vps_ml.compute import NoCluster
from vps_ml.stores import DamagedArtefact

if TYPE_CHECKING:
    from vps_assets.landing.land import Landing
    from vps_assets.lineage.planning import Request

app = typer.Typer(
    help="Price suggestions for second-hand items from their photos.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
DATES = ["%Y-%m-%d"]
UP_TO_DATE = "all that was asked for is up to date with what has landed."
NOTHING_TO_DO, NOTHING_WOULD_BE = f"Nothing had to be done: {UP_TO_DATE}", f"Nothing would be made: {UP_TO_DATE}"
IN_ONE_LINE = (DamagedArtefact, NoBucket, NoCluster)
"""Errors of `vps_ml` whose message is for a person."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Our errors end the command with their exit code, those of the disk and the databases with 1, in one line each.

    After an interruption nothing is said of whatever error it came out as.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:  # whoever read has read enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error
    except told_in_one_line() as error:
        if interruption.CAME.is_set():
            raise typer.Exit(interruption.EXIT_CODE) from error
        line = one_line(getattr(error, "orig", None) or error)
        if isinstance(error, errors_of_records()):  # Dagster's own records, under $VPS_HOME/dagster
            line = f"Dagster's records: {line}"
        if isinstance(error, (duckdb.Error, *errors_of_records())):
            line = f"{line} (vps doctor says what to do)"
        tell(f"vps: {line}")
        raise typer.Exit(error.exit_code if isinstance(error, VpsError) else 1) from error


def told_in_one_line() -> tuple[type[Exception], ...]:
    """Errors whose message is for a person."""
    return VpsError, OSError, pl.exceptions.PolarsError, *IN_ONE_LINE, duckdb.Error, *errors_of_records()


def errors_of_records() -> tuple[type[Exception], ...]:
    """SQLAlchemy's, if this process has it: what suggests a price does not, and would take a tenth of a second more."""
    found = sys.modules.get("sqlalchemy.exc")
    return (found.SQLAlchemyError,) if found else ()


def refuse_wrong_settings() -> None:
    """Say which variable makes no sense, before anything starts.

    Raises:
        WrongSetting: one does not.
    """
    from vps_assets.orchestration import settings

    settings.refuse_wrong_settings()


def show_version(wanted: bool) -> None:
    """Print which version this is, and end."""
    if wanted:
        print(f"vps {metadata.version('vps')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Price suggestions for second-hand items from their photos."""


@app.command()
def demo(
    listings: Annotated[int, typer.Option(help="How many listings the marketplace has.", min=300)] = 3200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same marketplace.")] = 0,
    last_date: Annotated[
        datetime | None, typer.Option(formats=DATES, help="Of the listings; by default yesterday, UTC.")
    ] = None,
) -> None:
    """Make a small marketplace with photos, land it, materialise the whole lineage, print the tables."""
    from vps_assets.demo.market import is_drawn, make_market
    from vps_assets.landing.land import land
    from vps_assets.landing.landings import landed_files
    from vps_assets.report.terminal import print_tables
    from vps_assets.tables.partitions import EARLIEST_DAY

    with one_line_errors():
        home = Home.from_environment()
        if last_date is not None and not EARLIEST_DAY <= last_date.date() <= datetime.now(UTC).date():
            raise UserError(f"--last-date: {last_date.date()} is after today, or before {EARLIEST_DAY}")
        last_day = last_date and last_date.date()
        landed_before = is_drawn(home.demo, listings, seed, last_day) and landed_files(home)
        folder = make_market(home.demo, listings, seed, tell, last_day)
        if landed_before:  # landed again, it would take back what has landed since
            print("listings.parquet: landed before; what has landed since stays")
        else:
            print_landings(land([folder / "listings.parquet"], folder, home, tell))
        materialise(home, requested(home))
        print_tables(home)
        print("Next: `vps report` writes the report, `make ui` opens the Dagster UI on http://127.0.0.1:3000")


@app.command()
def init(
    gpus: Annotated[int | None, typer.Option(help="How many runs may use an accelerator at a time.", min=1)] = None,
) -> None:
    """Make what is needed once, before several hosts share it: the lake that VPS_WAREHOUSE names, and its schemas."""
    from vps_assets.commands.init import initialise

    with one_line_errors():
        for line in initialise(Home.from_environment(), gpus):
            print(line)


@app.command(name="land")
def land_command(
    files: Annotated[list[Path], typer.Argument(help="Parquet, CSV or JSON Lines files.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the photos; by default beside each file.")] = None,
) -> None:
    """Check and land listings; landing a file twice changes nothing."""
    from vps_assets.landing.land import land

    with one_line_errors():
        if images is not None and not images.is_dir():
            raise UserError(f"--images: there is no folder {images}")
        print_landings(land(files, images, Home.from_environment(), tell))


def print_landings(landings: "list[Landing]") -> None:
    """One line per file, and a warning for columns that are kept out."""
    for landing in landings:
        name = printable(landing.source_file)
        if landing.unknown_columns:
            unknown = printable(", ".join(landing.unknown_columns))
            tell(f"warning: {name}: unknown columns are kept out: {unknown}")
        again = ", all of it landed before: nothing changed" if landing.already_landed else ""
        print(f"{name}: {printable(landing.told)}{again}")


@app.command()
def run(
    select: Annotated[str | None, typer.Option(help="Assets, as A,B+,+C; `+` takes up- or downstream along.")] = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=DATES, help="First listing date.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=DATES, help="Last listing date.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds the models are trained with.", min=1, max=100)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and why; make nothing.")] = False,
) -> None:
    """Materialise the lineage, or the part selected, on what has landed."""
    with one_line_errors():
        home = Home.from_environment()
        request = requested(home, select, first, last, seeds)
        if not dry_run:
            materialise(home, request)
            return
        from vps_assets.commands import dry_run as planned

        print("\n".join(planned.dry_run(home, recipe_from_environment(), request)) or NOTHING_WOULD_BE)


def requested(
    home: Home,
    select: str | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
    seeds: int = 1,
) -> "Request":
    """What is asked for.

    Raises:
        UserError: nothing has landed, or the request makes no sense.
    """
    from vps_assets.landing.landings import landed_files
    from vps_assets.lineage.graph import selected
    from vps_assets.lineage.planning import Request

    if not landed_files(home):
        raise UserError(f"nothing has landed in {home.path}: run `vps land FILE` or `vps demo` first")
    if first and last and first > last:
        raise UserError(f"--from {first.date()} is after --to {last.date()}")
    selected(select)  # refuses unknown names before anything runs
    refuse_wrong_settings()
    return Request(select, first and first.date(), last and last.date(), seeds)


def materialise(home: Home, request: "Request") -> None:
    """Run the lineage and print what was done."""
    from vps_assets.orchestration.run import run_lineage

    done = run_lineage(home, recipe_from_environment(), request, tell)
    print(f"Done: {done} Dagster runs. The tables are in {home.lake or home.analytics}" if done else NOTHING_TO_DO)


@app.command()
def suggest(
    images: Annotated[list[Path] | None, typer.Argument(help="The photo; a line for each of several.")] = None,
    category: Annotated[
        str | None, typer.Option(help="The item's category, always needed; without it those there are are named.")
    ] = None,
    seller: Annotated[str | None, typer.Option(help="The seller, if known.")] = None,
    title: Annotated[str | None, typer.Option(help="What the seller calls it.")] = None,
    description: Annotated[str | None, typer.Option(help="What the seller says of it.")] = None,
    brand: Annotated[str | None, typer.Option(help="Its brand.")] = None,
    condition: Annotated[str | None, typer.Option(help="Its condition, as the marketplace calls it.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="An attribute label; as often as there are.")] = None,
    specification: Annotated[list[str] | None, typer.Option(help="A specification label; likewise.")] = None,
    asking_price: Annotated[float | None, typer.Option(help="What is asked for it, in the same money.")] = None,
    any_category: Annotated[bool, typer.Option("--any-category", help="Also where nothing of it has sold.")] = False,
) -> None:
    """Suggest a price by a photo, by what the seller says, or by both, as JSON on stdout."""
    from vps_assets.commands.suggest import category_asked, photos_in, suggest_each, suggest_one
    from vps_assets.serving.offers import Offer

    with one_line_errors():
        home, photos = Home.from_environment(), photos_in(images or [])
        labels = tuple(attribute or ()), tuple(specification or ())
        said = seller, title, description, brand, condition
        offer = Offer(
            category_asked(category, home), None, *said, *labels, asking_price=asking_price, any_category=any_category
        )
        if photos == (images or []) and len(photos) <= 1:
            print(suggest_one(replace(offer, image=next(iter(photos), None)), home))
            return
        failed = 0
        for line, good in suggest_each(offer, photos, home):
            print(line, flush=True)
            failed += not good
        if failed:
            raise UserError(f"{failed} of {len(photos)} photos have an error instead of a suggestion")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Where to listen; another than loopback needs VPS_API_KEY.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65535)] = 8000,
    requests_per_minute: Annotated[int, typer.Option(help="Suggestions that a client may ask for.", min=1)] = 60,
) -> None:
    """Suggest prices over HTTP; what is promoted or published meanwhile is served within seconds."""
    from vps_assets.commands import serve as serving

    with one_line_errors():
        serving.serve(Home.from_environment(), host, port, requests_per_minute)


@app.command()
def rollback(
    to: Annotated[
        str | None, typer.Option(help="A price model, such as champion_history lists; else the champion before.")
    ] = None,
) -> None:
    """Put the champion before in force again, and price the open listings with it."""
    from vps_assets.commands.rollback import roll_back

    with one_line_errors():
        refuse_wrong_settings()
        now, before = roll_back(Home.from_environment(), recipe_from_environment(), to, tell)
        print(f"{now} prices open listings again, instead of {before}, which is not promoted any more.")


@app.command()
def forget(
    seller: Annotated[str, typer.Option(help="The seller's id, as it landed.")],
) -> None:
    """Erase a seller: rows, photos and what was made from them; names the models that had learnt from them."""
    from vps_assets.commands import forget as erasure
    from vps_assets.lineage.graph import EVERYTHING_FITTED

    with one_line_errors():
        refuse_wrong_settings()
        gone = erasure.forget(Home.from_environment(), recipe_from_environment(), seller, tell)
        kept = f" ({gone.shared_photos} are other sellers' too, and stay)" if gone.shared_photos else ""
        print(f"Forgotten: {gone.listings:,} listings and {gone.photos:,} photos of seller {seller}{kept}.")
        for file in gone.unread:
            print(f"look yourself, this file cannot be read and contains the seller's id: {file}")
        for kind, models in gone.models.items():
            print(f"learnt from them before, {kind}: {', '.join(models)}")
        if gone.models:
            print(
                f"`vps run --select {EVERYTHING_FITTED}` fits all again, without them; a champion that goes on because "
                "its challenger is not better keeps what it learnt. Backups are yours to erase."
            )


@app.command()
def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte of tables and models, also of many.")] = False,
) -> None:
    """Print in ten lines whether the state is healthy, and what to do; exit 1 if something does not work."""
    from vps_assets.commands.doctor import examine

    with one_line_errors():
        refuse_wrong_settings()
        lines = examine(Home.from_environment(), recipe_from_environment(), deep=deep)
        for line in lines:
            print(line)
        if not all(line.works for line in lines):
            raise typer.Exit(1)


@app.command()
def judge(
    listings: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON Lines: listings that no model was tuned on.")],
    images: Annotated[Path | None, typer.Option(help="Where the photos are; by default beside the file.")] = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=DATES, help="The day they are listed on; by default the next one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where every model's predictions go.")] = Path("judged.parquet"),
) -> None:
    """Predict listings with every model there is, and say how far off each is where they have sold; nothing lands."""
    from vps_assets.commands import judge as judging

    with one_line_errors():
        day = as_of.date() if as_of else None
        home = Home.from_environment()
        if not out.parent.is_dir():
            raise UserError(f"{out.parent} is no folder: --out needs one that exists")
        verdicts = judging.judge(listings, images, day, home, recipe_from_environment(), tell)
        judging.write_verdicts(verdicts, out)
        for line in verdicts.figures:
            print(line)
        models = verdicts.predictions["model_id"].n_unique()
        print(f"{verdicts.predictions.height:,} predictions of {models} models are in {out}")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Where on loopback to listen.", min=1, max=65535)] = 3000,
) -> None:
    """Serve the Dagster UI on loopback and run the daemon, which ticks the sensors; until it is interrupted."""
    with one_line_errors():
        refuse_wrong_settings()
    os.execv(sys.executable, [sys.executable, "-m", "vps_assets.orchestration.web", "--port", str(port)])  # noqa: S606


@app.command()
def report() -> None:
    """Write the evaluation report, one HTML file, and print its path."""
    from vps_assets.report.page import write_report

    with one_line_errors():
        print(write_report(Home.from_environment()))


def main() -> None:
    """Run the command line; an interruption, and typer's errors about wrong arguments, are one line too."""
    keep_freed_memory()
    private_files()
    interruption.listen()
    try:
        code = app(standalone_mode=False)
    except BaseException as error:  # Dagster's own of an interruption is no Exception
        if not interruption.CAME.is_set() and not isinstance(error, KeyboardInterrupt):
            usage_error(error)
        code = interruption.EXIT_CODE
    if interruption.CAME.is_set() or code == interruption.EXIT_CODE:
        interruption.say()
        code = interruption.EXIT_CODE
    gc.freeze()  # else Python looks through all modules for garbage, several times: half a second as the process ends
    sys.exit(code)


def usage_error(error: BaseException) -> None:
    """End with typer's error in one line; raise any other again."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed by then
        sys.exit(2)
    tell(f"vps: {one_line(message())} (see vps --help)")
    sys.exit(2)
