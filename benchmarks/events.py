"""What an event costs Dagster's records in SQLite: with connections that are kept, and as Dagster itself does it.

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


def writer(log: type[SqliteEventLogStorage], events: int) -> Callable[[], None]:
    """Writes a new run's events to records of its own."""

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = log(folder)
            for number in range(events):
                partition = str(number)
                planned = AssetMaterializationPlannedData(KEY, partition=partition)
                storage.store_event(entry("ASSET_MATERIALIZATION_PLANNED", planned))
                made = dg.AssetMaterialization(KEY, partition=partition, metadata={"rows": number})
                storage.store_event(entry("ASSET_MATERIALIZATION", StepMaterializationData(made)))
            assert len(storage.get_materialized_partitions(KEY)) == events
            storage.dispose()

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100, help="dates of an asset")
    events = parser.parse_args().events
    ways = {"kept": writer(EventLog, events), "Dagster's own": writer(SqliteEventLogStorage, events)}
    tell(f"{events} dates of an asset, two events each, with the records they begin")
    cpu = interleaved(ways, ROUNDS)
    tell_seconds(cpu, "kept")
    wall = interleaved(ways, ROUNDS, wall_seconds)
    tell_seconds(wall, "kept", "wall")
    report(
        event_ms={name: 500 * seconds / events for name, seconds in cpu.items()},
        event_cpu_ratio=cpu["Dagster's own"] / cpu["kept"],
        event_wall_ratio=wall["Dagster's own"] / wall["kept"],
    )


if __name__ == "__main__":
    main()
