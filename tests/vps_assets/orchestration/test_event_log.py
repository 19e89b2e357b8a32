"""The event log whose connections are kept: Dagster's own, but quicker."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy.engine import RootTransaction as Transaction

from vps_assets.home import Home
from vps_assets.orchestration.event_log import MOST_KEPT, EventLog, with_kept_connections
from vps_assets.orchestration.instance import open_instance, prepare_instance
from vps_assets.orchestration.internals import ConfigurableClassData, InstanceRef

WHEN_WRITTEN = {"create_timestamp", "migration_completed"}


def made(run_id: str, partition: str, asset: str = "prices") -> dg.EventLogEntry:
    """The event that a run has made a partition."""
    tags = {"dagster/data_version": f"version of {partition}"}
    data = StepMaterializationData(dg.AssetMaterialization(asset, partition=partition, tags=tags))
    return entry(run_id, DagsterEvent("ASSET_MATERIALIZATION", "job", step_key="step", event_specific_data=data))


def planned(run_id: str, partition: str, asset: str = "prices") -> dg.EventLogEntry:
    """The event that a run is going to make a partition."""
    data = AssetMaterializationPlannedData(dg.AssetKey(asset), partition=partition)
    return entry(
        run_id, DagsterEvent("ASSET_MATERIALIZATION_PLANNED", "job", step_key="step", event_specific_data=data)
    )


def entry(run_id: str, event: DagsterEvent) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None, level=20, user_message="", run_id=run_id, timestamp=time.time(), step_key=event.step_key,
        job_name="job", dagster_event=event,
    )  # fmt: skip


def tables(folder: Path) -> dict[str, list[tuple]]:
    """All that the files have, less when a row was written."""
    found = {}
    for file in ("index", "run"):
        with sqlite3.connect(folder / f"{file}.db") as connection:
            names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
            for table in names:
                columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
                kept = ", ".join(f'"{column}"' for column in columns if column not in WHEN_WRITTEN)
                found[f"{file}.{table}"] = connection.execute(f"select {kept} from {table}").fetchall()
        connection.close()
    return found


def partitions(log: SqliteEventLogStorage, run_id: str) -> list[str | None]:
    events = (record.event_log_entry.dagster_event for record in log.get_records_for_run(run_id).records)
    return [event.partition for event in events if event]


def open_files(folder: Path) -> set[str]:
    """Databases below the folder that this process has open."""
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        try:
            target = handle.readlink()
        except FileNotFoundError:
            continue
        if target.is_relative_to(folder):
            found.add(target.name.removesuffix("-wal").removesuffix("-shm"))
    return found


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(str(tmp_path))


def test_it_and_dagsters_own_class_read_what_the_other_has_written(log: EventLog, tmp_path: Path) -> None:
    own = SqliteEventLogStorage(str(tmp_path))
    for number, writer in enumerate((log, own, log, own, log)):
        writer.store_event(made("run", str(number)))
        assert partitions(log, "run") == partitions(own, "run") == [str(n) for n in range(number + 1)]
    assert log.get_materialized_partitions(dg.AssetKey("prices")) == set("01234")
    assert own.get_materialized_partitions(dg.AssetKey("prices")) == set("01234")


@pytest.mark.parametrize("writer", [EventLog, SqliteEventLogStorage])
@pytest.mark.parametrize("watcher", [EventLog, SqliteEventLogStorage])
def test_who_waits_for_a_runs_events_is_told_of_each(
    watcher: type[SqliteEventLogStorage], writer: type[SqliteEventLogStorage], tmp_path: Path
) -> None:
    """As the UI's page of a run does: it waits for the file to change, whoever writes it and has read it."""
    writes, reads, own = writer(str(tmp_path)), EventLog(str(tmp_path)), watcher(str(tmp_path))
    writes.store_event(made("run", "0"))
    assert partitions(reads, "run") == ["0"]
    told: list[str | None] = []
    all_told = threading.Event()

    def tell(entry: dg.EventLogEntry, cursor: str) -> None:
        told.append(entry.dagster_event.partition if entry.dagster_event else None)
        if len(told) == 3:
            all_told.set()

    own.watch("run", None, tell)
    try:
        for number in (1, 2):
            writes.store_event(made("run", str(number)))
        assert all_told.wait(20)
    finally:
        own.dispose()
    assert told == ["0", "1", "2"]


def test_a_batch_is_stored_as_dagsters_own_class_stores_its_events_one_by_one(tmp_path: Path) -> None:
    """Of two assets, two kinds of events, in turns: every row of both files but when it was written."""
    kinds = (made, planned, made)
    batch = [kind("run", day, asset) for day in "01" for kind in kinds for asset in ("prices", "ranges")]
    checked = dg.AssetCheckKey(dg.AssetKey("prices"), "schema")
    data = AssetCheckEvaluationPlanned(asset_key=checked.asset_key, check_name=checked.name)
    check = DagsterEvent("ASSET_CHECK_EVALUATION_PLANNED", "job", step_key="step", event_specific_data=data)
    (tmp_path / "own").mkdir()
    (tmp_path / "ours").mkdir()
    own, log = SqliteEventLogStorage(str(tmp_path / "own")), EventLog(str(tmp_path / "ours"))
    batch.append(entry("run", check))
    own.store_event_batch(batch)
    log.store_event_batch(batch)
    log.dispose()
    expected, found = tables(tmp_path / "own"), tables(tmp_path / "ours")
    assert len(expected["run.event_logs"]) == len(expected["index.event_logs"]) == 13
    assert len(expected["index.asset_event_tags"]) == 8
    assert found == expected


def test_who_waits_for_a_runs_events_is_told_of_a_batch_and_its_file_stays_open(log: EventLog, tmp_path: Path) -> None:
    log.store_event(made("run", "0"))
    os.utime(tmp_path / "run.db", (0, 0))
    log._let_go("run")
    log.store_event_batch([made("run", day) for day in "12"])
    assert (tmp_path / "run.db").stat().st_mtime > 0
    assert "run.db" in open_files(tmp_path)


def test_where_a_runs_file_cannot_be_committed_the_index_has_no_event(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.store_event(made("run", "0"))
    whole = Transaction.commit

    def full(transaction: Transaction) -> None:
        if "run.db" in str(transaction.connection.engine.url):
            raise OSError("No space left on device")
        whole(transaction)

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit", full)
        with pytest.raises(OSError, match="No space"):
            log.store_event_batch([made("run", day) for day in "12"])
    assert log.get_materialized_partitions(dg.AssetKey("prices")) == {"0"}


def test_a_batch_that_cannot_be_stored_whole_leaves_no_event(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster then stores its events one by one: none would be there twice."""
    log.store_event(made("run", "0"))

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(log, "_store_asset_event", full)
    with pytest.raises(OSError, match="No space"):
        log.store_event_batch([made("run", day) for day in "123"])
    assert partitions(log, "run") == ["0"]
    assert log.get_materialized_partitions(dg.AssetKey("prices")) == {"0"}


def test_a_runs_events_of_many_dates_come_in_batches(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    whole = EventLog.store_event_batch

    def noted(log: EventLog, events: list[dg.EventLogEntry]) -> None:
        sizes.append(len(events))
        whole(log, events)

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(list("0123456")))
    def prices() -> None:
        pass

    monkeypatch.setattr(EventLog, "store_event_batch", noted)
    with open_instance(home) as instance:
        window = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "6"}
        assert dg.materialize([prices], instance=instance, tags=window).success
        assert instance.get_materialized_partitions(prices.key) == set("0123456")
    assert sizes == [7, 7], "planned, then made"


def test_the_file_of_a_run_that_was_deleted_is_made_anew(log: EventLog, tmp_path: Path) -> None:
    log.store_event(made("run", "0"))
    for file in tmp_path.glob("run.db*"):
        file.unlink()
    assert partitions(log, "run") == []
    log.store_event(made("run", "1"))
    assert partitions(SqliteEventLogStorage(str(tmp_path)), "run") == ["1"]


def test_an_empty_file_in_the_place_of_a_runs_gets_its_tables(log: EventLog, tmp_path: Path) -> None:
    log.store_event(made("run", "0"))
    log.dispose()
    (tmp_path / "run.db").write_bytes(b"")
    assert partitions(log, "run") == []


def test_an_event_that_is_stored_is_no_failure_whatever_becomes_of_the_file(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.store_event(made("run", "other"))

    def gone(path: str) -> None:
        raise FileNotFoundError(path)

    with monkeypatch.context() as patched:
        patched.setattr("vps_assets.orchestration.event_log.os.utime", gone)
        log.store_event(made("run", "0"))
    assert partitions(log, "run") == ["other", "0"]


def test_a_run_that_has_ended_is_kept_open_no_more(log: EventLog, tmp_path: Path) -> None:
    log.store_event(made("run", "0"))
    assert "run.db" in open_files(tmp_path)
    ended = DagsterEvent("PIPELINE_SUCCESS", "job")
    log.store_event(dg.EventLogEntry(None, 20, "", "run", time.time(), job_name="job", dagster_event=ended))
    assert open_files(tmp_path) == {"index.db"}
    assert not (tmp_path / "run.db-wal").exists(), "all of it is in the file"


def test_few_files_stay_open_and_none_once_it_is_done_with(log: EventLog, tmp_path: Path) -> None:
    for number in range(3 * MOST_KEPT):
        log.store_event(made(f"run{number}", "0"))
    assert 1 < len(open_files(tmp_path)) <= MOST_KEPT
    assert [partitions(log, f"run{number}") for number in range(3 * MOST_KEPT)] == [["0"]] * 3 * MOST_KEPT
    log.dispose()
    assert open_files(tmp_path) == set()
    assert partitions(log, "run0") == ["0"], "it opens again"


def test_a_process_that_was_forked_has_a_connection_of_its_own(log: EventLog) -> None:
    log.store_event(made("run", "0"))
    if (child := os.fork()) == 0:
        try:
            log.store_event(made("run", "1"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    log.store_event(made("run", "2"))
    assert partitions(log, "run") == ["0", "1", "2"]


def test_an_instance_has_it_unless_an_operator_has_chosen_other_storage(home: Home) -> None:
    with open_instance(home) as instance:
        assert isinstance(instance.event_log_storage, EventLog)
        assert isinstance(dg.DagsterInstance.from_ref(instance.get_ref()).event_log_storage, EventLog), "runs, too"
    ref = InstanceRef.from_dir(str(prepare_instance(home)))
    postgres = ref._replace(storage_data=ConfigurableClassData("dagster_postgres", "DagsterPostgresStorage", "{}"))
    assert with_kept_connections(postgres) == postgres
