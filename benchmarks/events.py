"""What an event costs Dagster's records in SQLite: in batches, with connections that are kept, and as Dagster does it.

    python benchmarks/events.py [--events 365]

The events of a run that makes so many dates of an asset, two for each: that it is planned, and that it is made.
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from measure import interleaved, report, tell, tell_seconds, wall_seconds

from vps_assets.orchestration.event_log import EventLog
from vps_assets.orchestration.internals import SqliteEventLogStorage

ROUNDS = 3
KEY = dg.AssetKey("prices")


def entry(kind: str, data: AssetMaterializationPlannedData | StepMaterializationData) -> dg.EventLogEntry:
    event = DagsterEvent(kind, "job", step_key="step", event_specific_data=data)
    now = time.time()
    return dg.EventLogEntry(None, 20, "", "run", now, step_key="step", job_name="job", dagster_event=event)


def planned(partition: str) -> dg.EventLogEntry:
    return entry("ASSET_MATERIALIZATION_PLANNED", AssetMaterializationPlannedData(KEY, partition=partition))


def made(partition: str) -> dg.EventLogEntry:
    rows = dg.AssetMaterialization(KEY, partition=partition, metadata={"rows": int(partition)})
    return entry("ASSET_MATERIALIZATION", StepMaterializationData(rows))


def writer(log: type[SqliteEventLogStorage], events: int, *, batch: bool = False) -> Callable[[], None]:
    """Writes a new run's events to records of its own: all that are planned, then all that are made."""

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = log(folder)
            for event in (planned, made):
                entries = [event(str(number)) for number in range(events)]
                if batch:
                    storage.store_event_batch(entries)
                else:
                    for one in entries:
                        storage.store_event(one)
            assert len(storage.get_materialized_partitions(KEY)) == events
            storage.dispose()

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100, help="dates of an asset")
    events = parser.parse_args().events
    ways = {
        "batches": writer(EventLog, events, batch=True),
        "kept": writer(EventLog, events),
        "Dagster's own": writer(SqliteEventLogStorage, events),
    }
    tell(f"{events} dates of an asset, two events each, with the records they begin")
    cpu = interleaved(ways, ROUNDS)
    tell_seconds(cpu, "batches")
    wall = interleaved(ways, ROUNDS, wall_seconds)
    tell_seconds(wall, "batches", "wall")
    report(
        event_ms={name: 500 * seconds / events for name, seconds in cpu.items()},
        event_cpu_ratio=cpu["Dagster's own"] / cpu["batches"],
        event_wall_ratio=wall["Dagster's own"] / wall["batches"],
    )


if __name__ == "__main__":
    main()
