"""What runs print, captured by Dagster's own manager, whose helpers do not hear a terminal's Ctrl-C.

Dagster 1.13 starts four processes that pass a run's output on. A terminal interrupts them with the command, and each
would print a traceback of its own before the command says that it was interrupted; it ends them itself.
"""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from vps_assets.orchestration.internals import (
    CapturedLogContext,
    ConfigurableClassData,
    InstanceRef,
    LocalComputeLogManager,
)


class OutputLogs(LocalComputeLogManager):
    """Dagster's files of what runs print."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "OutputLogs":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Capture what is printed meanwhile."""
        with ExitStack() as stack:
            with interrupts_blocked():  # in the processes that are started, for as long as they live
                captured = stack.enter_context(super().capture_logs(log_key))
            yield captured


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let a SIGINT to this thread wait until the end; processes that are started meanwhile never hear one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def with_deaf_helpers(ref: InstanceRef) -> InstanceRef:
    """The instance with these logs, unless an operator has chosen others than Dagster's local files."""
    chosen = ref.compute_logs_data
    if chosen.class_name != LocalComputeLogManager.__name__:
        return ref
    return ref._replace(compute_logs_data=ConfigurableClassData(__name__, OutputLogs.__name__, chosen.config_yaml))
