"""A clean environment for every test, and one small marketplace run through the real command line."""

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings

from vps_assets.home import Home
from vps_assets.warehouse.settings import Settings

# No deadline: the machines are shared, and a slow example is not a wrong one. The same examples each time, so that a
# change is judged by what it changes; `make test-all` draws others, and many more.
shared = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", shared, derandomize=True, max_examples=60)
settings.register_profile("search", shared, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

VPS = [sys.executable, "-c", "from vps_assets.cli import main; main()"]
REPOSITORY = Path(__file__).resolve().parents[1]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
BESIDE = [REPOSITORY / room for room in re.findall(r"^BESIDE := (.*)$", MAKEFILE, re.MULTILINE)[0].split()]
LAST_DATE = date(2024, 7, 29)
"""Of the demo marketplaces of tests, so that their figures are the same on each day; of a user's it is yesterday."""


@pytest.hookimpl(tryfirst=True)  # before markers select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests on the small marketplace and those beside it: `make test` gives them one of its two processes.

    Raises:
        pytest.UsageError: a file that does not name the marketplace has a test on it, and no process would run that.
    """
    for item in items:
        if "marketplace" in getattr(item, "fixturenames", ()):
            item.add_marker("marketplace")
            if not re.search(r"\bmarketplace\b", item.path.read_text()):  # as the Makefile's grep finds it
                raise pytest.UsageError(f"{item.nodeid} is on the marketplace, which `make test` looks for by its name")
        if any(item.path.is_relative_to(room) for room in BESIDE):
            item.add_marker("beside")


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of all collections of garbage: they took a twentieth of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _migrations_are_read_once() -> Iterator[None]:
    """Each opening of Dagster's records reads all its migrations anew: a third of a second, at hundreds of openings."""
    read = ScriptDirectory.from_config
    known: dict[str, ScriptDirectory] = {}

    def from_config(config: Config) -> ScriptDirectory:
        where = str(config.get_main_option("script_location"))
        if where not in known:
            known[where] = read(config)
        return known[where]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = ("WAREHOUSE", "STORAGE", "EXECUTOR", "RECIPE", "WEIGHTS", "ENCODER", "FIRST_DATE", "MLFLOW")
    for name in (*(f"VPS_{name}" for name in ours), "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VPS_HOME", str(tmp_path / "home"))


@pytest.fixture
def _signals_are_heard() -> Iterator[None]:
    """As on a terminal: what a shell starts in the background ignores interrupts, and Dagster then SIGTERM too."""
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def vps(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VPS_") and k != "DAGSTER_HOME"}
    env = clean | {"VPS_HOME": str(home)} | environment
    return subprocess.run([*VPS, *arguments], env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)


def evaluated(
    check: dg.AssetChecksDefinition, home: Home, tags: dict[str, str] | None = None
) -> tuple[dg.AssetCheckEvaluation, bool]:
    """(what a check says of a warehouse, whether the run succeeded), run by Dagster as the UI does."""
    job = dg.define_asset_job("checking", dg.AssetSelection.checks(check))
    resources = {"settings": Settings(data_directory=str(home.path), recipe_name="demo")}
    defs = dg.Definitions(asset_checks=[check], resources=resources, jobs=[job])
    result = defs.resolve_job_def("checking").execute_in_process(tags=tags, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation, result.success


@dataclass(frozen=True)
class Marketplace:
    """A small demo marketplace, landed and run."""

    home: Home
    output: str
    progress: str

    def query(self, sql: str) -> list[tuple]:
        """The rows that an analyst gets."""
        with duckdb.connect(str(self.home.analytics), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def polars(self, sql: str) -> pl.DataFrame:
        """The same, as a frame."""
        with duckdb.connect(str(self.home.analytics), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return pl.DataFrame(connection.execute(sql).to_arrow_table())

    def frame(self, table: str) -> pl.DataFrame:
        """A published table."""
        return self.polars(f'from "{table}"')

    def copied(self, folder: Path) -> Home:
        """A data directory of its own, for a test that changes it; models, which nobody changes, are links."""
        models = self.home.artefacts.models.folder
        shutil.copytree(self.home.path, folder, ignore=shutil.ignore_patterns("demo", models.name))
        shutil.copytree(models, folder / models.name, copy_function=os.link)
        return Home(folder)


@pytest.fixture(scope="session")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> Marketplace:
    """`vps demo` on 500 listings: the whole lineage, networks and all, in about two minutes."""
    home = Home(tmp_path_factory.mktemp("marketplace") / "home")
    ran = vps("demo", "--listings", "500", "--last-date", LAST_DATE.isoformat(), home=home.path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return Marketplace(home, ran.stdout, ran.stderr)
