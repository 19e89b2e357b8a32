"""`vps doctor` on what is broken: a finding for each, and a cure that works."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pyarrow.parquet as pq
import pytest
from prices import with_prices
from scenario import listing, listings_file, quiet

from vps_assets.commands import data_examinations
from vps_assets.commands.doctor import examine
from vps_assets.commands.findings import BAD, LOOK, OK, Finding
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import free_dead_runs, open_instance
from vps_assets.warehouse import unchecked
from vps_assets.warehouse.io_manager import PROCESS_TAG, note_process
from vps_assets.warehouse.publication import publication_of
from vps_assets.warehouse.unchecked import Checks
from vps_ml.cards import Contents
from vps_ml.processes import host
from vps_ml.recipes import demo


def found(home: Home) -> dict[str, Finding]:
    """Subject -> finding; ten of them, whatever is broken."""
    lines = examine(home, demo())
    assert len(lines) == 10
    return {line.subject: line.finding for line in lines}


def with_free_bytes(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


@pytest.fixture
def healthy(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """One table, published, a Dagster instance, and room on the disk, whatever this machine's has."""
    with_free_bytes(monkeypatch, 100 * 2**30)
    publication_of(with_prices(home)).publish()
    home.path.chmod(0o700)
    with open_instance(home):
        pass
    return home


def write(path: str, content: bytes) -> Callable[[Home], None]:
    return lambda home: (home.path / path).write_bytes(content) and None


def flip_a_block(home: Home) -> None:
    data = bytearray(home.warehouse.read_bytes())
    data[3 * 4096 + 5000] ^= 0xFF
    home.warehouse.write_bytes(data)


FAULTS = {
    "a setting that is no YAML": (write("dagster/dagster.yaml", b"a: [\n"), ("runs", "checks", "sensors")),
    "a setting that does not exist": (write("dagster/dagster.yaml", b"colour: red\n"), ("runs", "checks", "sensors")),
    "broken records of runs": (write("dagster/history/runs.db", b"no database" * 999), ("runs", "sensors")),
    "broken records of events": (write("dagster/history/runs/index.db", b"no database" * 999), ("checks",)),
    "a lost warehouse": (lambda home: home.warehouse.unlink(), ("warehouse",)),
    "an empty warehouse": (write("warehouse.duckdb", b""), ("warehouse",)),
    "a warehouse with a bad block": (flip_a_block, ("warehouse",)),
    "a copy that is none": (write("analytics.duckdb", b"no database" * 999), ("analysts' copy",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_broken_is_a_finding_and_its_cure_works(healthy: Home, fault: str) -> None:
    assert all(finding.state != BAD for finding in found(healthy).values())
    break_it, subjects = FAULTS[fault]
    break_it(healthy)
    findings = found(healthy)
    assert {subject for subject, finding in findings.items() if finding.state == BAD} >= set(subjects)
    cure = findings[subjects[0]].to_do.split(" (")[0]
    commands = [part for part in cure.split("; ") if part != "vps run"]
    subprocess.run(" && ".join(commands), shell=True, check=True)
    publication_of(with_prices(healthy)).publish()
    assert all(finding.state != BAD for finding in found(healthy).values())


def test_a_damaged_model_is_found_by_its_content_and_set_aside(healthy: Home) -> None:
    models = healthy.artefacts.models
    models.make("abc", lambda: Contents({"kind": "x"}, texts={"price": "tree"}))
    assert found(healthy)["champion"].state == LOOK  # there is none
    (models.folder / "abc" / "price.txt").write_text("tres")
    finding = found(healthy)["champion"]
    assert (finding.state, finding.to_do) == (BAD, "vps run makes them again")
    assert "models/abc/price.txt" in finding.message
    assert models.ids() == []


def test_large_states_are_not_read_whole_unless_that_is_asked_for(
    healthy: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vps_assets.commands.findings.READ_BYTES", 1)
    healthy.artefacts.models.make("abc", lambda: Contents({"kind": "x"}, texts={"price": "tree"}))
    (healthy.artefacts.models.folder / "abc" / "price.txt").write_text("tres")
    assert "vps doctor --deep" in found(healthy)["warehouse"].message
    assert found(healthy)["champion"].state == LOOK
    assert {line.subject for line in examine(healthy, demo(), deep=True) if not line.works} == {"champion"}


def test_a_data_directory_that_every_account_can_read_is_named(healthy: Home) -> None:
    healthy.path.chmod(0o755)
    finding = found(healthy)["disk"]
    assert finding.state == LOOK
    subprocess.run(finding.to_do, shell=True, check=True)
    assert found(healthy)["disk"].state == OK


def test_a_directory_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    (only,) = examine(Home(tmp_path / "mistyped"), demo())
    assert not only.works and str(tmp_path / "mistyped") in only.finding.message and "VPS_HOME" in only.finding.to_do
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("free_gib", "tables_gib", "state"), [(0.5, 0, BAD), (2, 0, OK), (2, 1, LOOK), (4.9, 1, LOOK), (5, 1, OK)]
)
def test_a_disk_with_little_room_for_these_tables_is_a_finding_and_does_not_hide_who_can_read(
    healthy: Home, monkeypatch: pytest.MonkeyPatch, free_gib: float, tables_gib: int, state: str
) -> None:
    if tables_gib:
        (sparse := healthy.path / "sparse").touch()
        os.truncate(sparse, tables_gib * 2**30)
        monkeypatch.setattr(Home, "warehouse", sparse)
    with_free_bytes(monkeypatch, free_gib * 2**30)
    assert found(healthy)["disk"].state == state
    assert found(healthy)["disk"].message == f"{free_gib:.1f} GiB free in {healthy.path}"
    healthy.path.chmod(0o755)
    finding = found(healthy)["disk"]
    assert finding.state == (BAD if state == BAD else LOOK)
    assert "every account can read" in finding.message
    assert f"chmod -R o-rwx {healthy.path}" in finding.to_do


def test_what_is_behind_is_waited_for_while_a_run_makes_it(
    healthy: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land([listings_file(tmp_path, [listing(77)])], None, healthy, quiet)
    assert "vps run" in found(healthy)["lineage"].to_do
    monkeypatch.setattr(data_examinations, "runs_under_way", lambda examined: True)
    assert found(healthy)["lineage"].to_do == "a run is under way: wait for it"


def test_a_table_that_failed_its_check_is_named(healthy: Home) -> None:
    warehouse = with_prices(healthy)
    with warehouse.connect(read_only=False) as connection:
        unchecked.add(connection, "prices", ["1"], Checks("r", ("schema",)))
    publication_of(warehouse).publish()
    finding = found(healthy)["analysts' copy"]
    assert (finding.state, finding.to_do) == (BAD, "vps run"), "no check has failed: a run broke off before it"
    assert "prices" in finding.message


def test_whether_a_check_failed_or_a_run_broke_off_is_told_apart(healthy: Home) -> None:
    with with_prices(healthy).connect(read_only=False) as connection:
        unchecked.add(connection, "clean_listings", ["2024-01-01"], Checks("r", ("schema",)))
    for passed, said in ((False, "a check failed"), (True, "a run broke off")):
        evaluation = dg.AssetCheckEvaluation(
            dg.AssetKey("clean_listings"), "schema", passed, severity=dg.AssetCheckSeverity.ERROR, metadata={}
        )
        with open_instance(healthy) as instance:
            instance.report_runless_asset_event(evaluation)
        assert said in found(healthy)["analysts' copy"].message
        assert f"before: clean_listings; {said}" in found(healthy)["analysts' copy"].message


def test_a_run_that_was_killed_has_not_failed(healthy: Home) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with open_instance(healthy) as instance:
        run = instance.create_run_for_job(sensors.retention_job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(run.run_id, {PROCESS_TAG: f"{host()}-{gone.pid}-0"})
        assert free_dead_runs(instance) == [run.run_id]
    finding = found(healthy)["runs"]
    assert (finding.state, finding.to_do) == (OK, "")
    assert finding.message == "0 under way, 0 dead, 0 failed, 1 broken off in the last day"


def test_sensors_that_do_not_tick_are_not_said_to(healthy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a daemon that cannot load the code: it lives, and nothing is evaluated."""
    from dagster._daemon.types import DaemonHeartbeat

    with open_instance(healthy) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "id", []))
    finding = found(healthy)["sensors"]
    assert finding.state == LOOK
    assert "do not tick: inbox_sensor" in finding.message
    monkeypatch.setenv("VPS_SENSORS", "stopped")
    assert "stopped: inbox_sensor" in found(healthy)["sensors"].message


def test_what_is_written_is_read_by_its_own_account_alone(tmp_path: Path) -> None:
    from conftest import vps

    home = Home(tmp_path / "home")
    (tmp_path / "a.csv").write_text("listing_id,listed_at,category,image_path\n1,2024-01-02,c,none.jpg\n")
    assert vps("land", str(tmp_path / "a.csv"), home=home.path).returncode == 0
    modes = {path: path.stat().st_mode & 0o077 for path in (home.path, *home.path.rglob("*"))}
    assert len(modes) > 2
    assert not any(modes.values()), modes
    assert os.umask(0o022) is not None


def test_an_erasure_that_was_interrupted_is_named_with_its_command(healthy: Home) -> None:
    healthy.erasures.mkdir()
    (healthy.erasures / "x.json").write_text('{"seller": "Ms O\'Hara"}')
    finding = found(healthy)["inbox"]
    assert (finding.state, finding.to_do) == (BAD, """vps forget --seller 'Ms O'"'"'Hara'""")


def test_a_table_that_a_run_under_way_has_not_checked_yet_is_no_fault(healthy: Home) -> None:
    with with_prices(healthy).connect(read_only=False) as connection:
        unchecked.add(connection, "prices", ["1"], Checks("r", ("schema",)))
    with open_instance(healthy) as instance:
        run = instance.create_run_for_job(sensors.retention_job, status=dg.DagsterRunStatus.STARTED)
        note_process(instance, run.run_id)
    finding = found(healthy)["analysts' copy"]
    assert finding.state == LOOK
    assert "under way" in finding.message


def test_a_landing_that_is_damaged_where_planning_does_not_look_is_named(healthy: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path, [listing(1)])], None, healthy, quiet)
    (landing,) = healthy.landing.glob("*.parquet")
    offset = pq.ParquetFile(landing).metadata.row_group(0).column(8).data_page_offset
    data = bytearray(landing.read_bytes())
    data[offset : offset + 12] = bytes(b ^ 0xFF for b in data[offset : offset + 12])
    landing.write_bytes(data)
    assert f"{landing.name} is damaged" in found(healthy)["lineage"].message
