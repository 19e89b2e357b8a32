"""`vps init`: what is shared is made once, and making it again changes nothing."""

from pathlib import Path

import pytest
from conftest import vps
from scenario import listing, listings_file

from vps_assets.commands.init import initialise
from vps_assets.home import Home
from vps_assets.landing.land import land
from vps_assets.orchestration.instance import WrongInstance, open_instance
from vps_ml.ops import GPU_POOL


def slots(home: Home) -> int:
    with open_instance(home) as instance:
        return instance.event_log_storage.get_concurrency_info(GPU_POOL).slot_count


def test_the_number_of_accelerators_is_kept_unless_it_is_said_again(home: Home) -> None:
    initialise(home, 3)
    assert slots(home) == 3
    initialise(home, None)
    assert slots(home) == 3
    initialise(home, 2)
    assert slots(home) == 2


def test_a_variable_that_dagsters_settings_name_and_nobody_has_set_is_named(home: Home) -> None:
    initialise(home, None)
    settings = home.dagster / "dagster.yaml"
    settings.write_text(settings.read_text() + "local_artifact_storage: {env: NOBODY_HAS_SET_THIS}\n")
    with pytest.raises(WrongInstance, match="dagster.yaml"), open_instance(home):
        pass
    settings.write_text(settings.read_text().replace("local_artifact_storage: {env: NOBODY_HAS_SET_THIS}\n", ""))
    storage = "storage: {sqlite: {base_dir: {env: NOBODY_HAS_SET_THIS}}}\n"
    settings.write_text(settings.read_text() + storage)
    with pytest.raises(WrongInstance, match="^NOBODY_HAS_SET_THIS is not set"), open_instance(home):
        pass


def test_an_executor_that_there_is_not_is_refused_before_anything_runs(home: Home, tmp_path: Path) -> None:
    land([listings_file(tmp_path / "in", [listing(1)])], None, home, print)
    ran = vps("run", home=home.path, VPS_EXECUTOR="rai")
    assert ran.returncode == 2 and ran.stderr.splitlines() == ["vps: VPS_EXECUTOR: 'rai' is none of here, ray"]
