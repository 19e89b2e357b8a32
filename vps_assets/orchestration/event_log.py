"""Dagster's event log in SQLite, with connections that are kept open and events of many dates stored as one.

Dagster 1.13 makes an engine, opens the file, commits and closes it again, through to the disk, for every statement:
two thirds of what an event costs, and a run writes two or more for each date of each asset (docs/adr/0032). The
files are as Dagster's own class writes and reads them, in other processes at the same time too.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import Connection, Engine, QueuePool, create_engine
from sqlalchemy.exc import OperationalError

from vps_assets.orchestration.internals import (
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    INDEX_SHARD_NAME,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    InstanceRef,
    SqliteEventLogStorage,
)

MOST_KEPT = 4
"""Files: the index of all runs, and the runs that were written last."""
BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's own setting: how many events of an asset's dates it collects before it has them stored, 0 for none."""
MOST_IN_A_BATCH = "500"


@dataclass(frozen=True)
class Kept:
    """An open file."""

    engine: Engine
    process: int
    inode: int | None

    def close(self) -> None:
        """Close the connection, if it is this process's own."""
        self.engine.dispose(close=self.process == os.getpid())


class EventLog(SqliteEventLogStorage):
    """The event log; its connections are used by one thread at a time, as Dagster's are."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._written: set[str] = set()
        super().__init__(base_dir, inst_data)
        self._db_lock = threading.RLock()  # type: ignore[assignment]  # a batch is written to two files at once

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction in the file of a run, or in the index.

        Kept are the index and the runs that this process writes. Of a run that another process writes an open file
        would hold back what moves its log into the file, and with that who waits for the file to change.
        """
        with self._db_lock:
            engine = self._engine(shard)
            try:
                if shard not in self._initialized_dbs:
                    self._initdb(engine)
                    self._initialized_dbs.add(shard)
                with engine.connect() as connection, connection.begin():
                    yield connection
            except OperationalError:  # what the connection has may not be the next one's
                self._close(shard)
                raise
            finally:
                if shard != INDEX_SHARD_NAME and shard not in self._written:
                    self._close(shard)

    def _close(self, shard: str) -> None:
        if kept := self._kept.pop(shard, None):
            kept.close()

    def _engine(self, shard: str) -> Engine:
        """The file's, opened anew where another file has taken its place, or another process has opened it."""
        file = Path(self.path_for_shard(shard))
        if not file.exists():
            with suppress(OSError):  # what SQLite says of it, its callers know
                file.touch()
        status = file.stat() if file.exists() else None
        if status is None or not status.st_size:
            self._initialized_dbs.discard(shard)
        inode, kept = status.st_ino if status else None, self._kept.pop(shard, None)
        if kept is not None and (kept.process, kept.inode) != (os.getpid(), inode):
            kept.close()
            kept = None
        if kept is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=-1,  # making a file takes a second one
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            kept = Kept(engine, os.getpid(), inode)
        self._kept[shard] = kept
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)[1].close()
        return kept.engine

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event."""
        self._written.add(event.run_id)
        super().store_event(event)
        self._tell_who_waits(event.run_id)
        if event.is_dagster_event and event.dagster_event_type in EVENT_TYPE_TO_PIPELINE_RUN_STATUS:
            self._let_go(event.run_id)  # from here on another process may write the run, or none

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store the events of one run, those of assets in one transaction of its file, then of the index.

        Where either cannot be written neither is. Where the index then cannot be committed, or a kill comes between,
        the run has events that the index has not, as after one that is stored by itself.
        The index says of an asset what its last event of a kind says, as after all of them. Other events follow singly.
        """
        of_assets = [event for event in events if event.dagster_event_type in ASSET_EVENTS]
        run_ids = {event.run_id for event in events}
        if len(run_ids) != 1:
            return super().store_event_batch(events)
        (run_id,) = run_ids
        last: dict[object, tuple[dg.EventLogEntry, int]] = {}
        self._written.add(run_id)
        with self.index_transaction() as index, self.run_connection(run_id) as of_run:  # which is committed first
            ids = []
            for event in of_assets:
                statement = self.prepare_insert_event(event)
                of_run.execute(statement)
                ids.append(index.execute(statement).lastrowid)
                of = event.get_dagster_event().asset_key, event.dagster_event_type
                last.pop(of, None)
                last[of] = event, ids[-1]
            self._store_asset_event_tags(index, of_assets, ids)
            for event, event_id in last.values():
                self._store_asset_event(index, event, event_id)
        self._tell_who_waits(run_id)
        for event in events:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_event(event)
        return None

    def _tell_who_waits(self, run_id: str) -> None:
        """Let those know who wait for a run's file to change: what is new is in its log."""
        with suppress(OSError):  # it is stored, whatever has become of the file since
            os.utime(self.path_for_shard(run_id))

    def _let_go(self, run_id: str) -> None:
        """Keep a run's file open no more."""
        self._written.discard(run_id)
        with self._db_lock:
            self._close(run_id)

    def dispose(self) -> None:
        super().dispose()
        with self._db_lock:
            for shard in list(self._kept):
                self._close(shard)


class Storage(DagsterSqliteStorage):
    """Dagster's storage in SQLite, with this event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(self._event_log_storage._base_dir)
        os.environ.setdefault(BATCH_SIZE, MOST_IN_A_BATCH)  # Dagster reads it at each event

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "Storage":
        return cls.from_local(inst_data=inst_data, **config_value)


def with_kept_connections(ref: InstanceRef) -> InstanceRef:
    """The instance with this storage, unless an operator has chosen another than SQLite."""
    chosen = ref.storage_data
    if chosen is None or chosen.class_name != DagsterSqliteStorage.__name__:
        return ref
    return ref._replace(storage_data=ConfigurableClassData(__name__, Storage.__name__, chosen.config_yaml))
