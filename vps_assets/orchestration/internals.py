"""What this project takes from Dagster's private modules, all of it: look here first when Dagster is upgraded.

Each has no public counterpart in 1.13; `tests/vps_assets/orchestration/test_internals.py` tells when the pin moves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

if TYPE_CHECKING:
    from dagster._core.workspace.context import WorkspaceProcessContext

__all__ = [
    "ASSET_EVENTS",
    "EVENT_TYPE_TO_PIPELINE_RUN_STATUS",
    "FINISHED_STATUSES",
    "INDEX_SHARD_NAME",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "CapturedLogContext",
    "ConfigurableClassData",
    "DagsterSqliteStorage",
    "InstanceRef",
    "InstigatorStatus",
    "LocalComputeLogManager",
    "ReconstructableRepository",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "code_server",
    "newest_evaluations",
    "prepare_server_process",
    "workspace",
    "written",
]
CHECKED_WITH = "1.13.27"
"""The release of Dagster that all this was read and tried in."""


def newest_evaluations(
    instance: dg.DagsterInstance, keys: Collection[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """What each check said when it was last planned or noted; those that said nothing then are left out."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    found = {}
    for key, record in records.items():
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            found[key] = event.asset_check_evaluation_data
    return found


def written(op: dg.OpDefinition) -> Callable[..., Any]:
    """The function that `@op` decorates."""
    assert isinstance(op.compute_fn, DecoratedOpFunction), "every op of ours is made by the decorator"
    return op.compute_fn.decorated_fn


def prepare_server_process() -> None:
    """Log in colours, and let SIGTERM raise KeyboardInterrupt too, as `dagster dev` does."""
    from dagster._utils.interrupts import setup_interrupt_handlers
    from dagster._utils.log import configure_loggers

    configure_loggers(formatter="colored", log_level="INFO")
    setup_interrupt_handlers()


@contextmanager
def code_server(
    instance: dg.DagsterInstance, module: str, attribute: str, name: str
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """A server of the code location, for the UI and the daemon; how a workspace.yaml names it."""
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.workspace.load_target import ModuleTarget

    target = ModuleTarget(module, attribute, working_directory=None, location_name=name)
    with ProxyServerManager(instance, target, "warning") as servers:
        yield servers.get_code_server_specs()


def workspace(instance: dg.DagsterInstance, file: str, version: str) -> "WorkspaceProcessContext":
    """What the UI's application serves: the code locations of a workspace.yaml."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    return WorkspaceProcessContext(instance, WorkspaceFileTarget([file]), version=version)
