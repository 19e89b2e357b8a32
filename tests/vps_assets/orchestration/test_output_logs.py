"""What runs print: captured by Dagster's own manager, whose helpers a terminal's Ctrl-C does not reach."""

import os
import signal
import time
from pathlib import Path

import pytest

from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance, prepare_instance
from vps_assets.orchestration.internals import ConfigurableClassData, InstanceRef
from vps_assets.orchestration.output_logs import OutputLogs, with_deaf_helpers


def hears_interrupts(process: int) -> bool:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return not int(status["SigBlk"], 16) & 1 << (signal.SIGINT - 1)


def children() -> list[int]:
    return [int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.usefixtures("_signals_are_heard")
def test_its_helpers_hear_no_interrupt_this_process_does_and_they_end(home: Home) -> None:
    before = set(children())
    with open_instance(home) as instance:
        with instance.compute_log_manager.capture_logs(["run", "step"]):
            helpers = set(children()) - before
            assert len(helpers) == 4
            assert not any(map(hears_interrupts, helpers))
            assert hears_interrupts(os.getpid())
        assert instance.compute_log_manager.is_capture_complete(["run", "step"])
    until = time.monotonic() + 10
    while helpers & set(children()):
        assert time.monotonic() < until


def test_an_instance_has_it_unless_an_operator_has_chosen_other_logs(home: Home) -> None:
    with open_instance(home) as instance:
        assert isinstance(instance.compute_log_manager, OutputLogs)
        assert instance.get_ref().compute_logs_data.config_yaml
    ref = InstanceRef.from_dir(str(prepare_instance(home)))
    bucket = ref._replace(compute_logs_data=ConfigurableClassData("dagster_aws.s3", "S3ComputeLogManager", "{}"))
    assert with_deaf_helpers(bucket) == bucket
