"""Every variable that makes no sense is named, in a line, before anything starts."""

import pytest

from vps_assets.errors import WrongSetting
from vps_assets.orchestration.settings import refuse_wrong_settings

WRONG = {
    "VPS_WAREHOUSE": "a.duckdb",
    "VPS_STORAGE": "bucket",
    "VPS_EXECUTOR": "slurm",
    "VPS_MLFLOW": "http://me:secret@mlflow",
    "VPS_RECIPE": "huge",
    "VPS_ENCODER": "/nowhere",
    "VPS_WEIGHTS": "/nowhere.safetensors",
    "VPS_RETRAIN_BACKBONES": "often",
    "VPS_KEEP_DAYS": "-3",
    "VPS_SENSORS": "off",
    "VPS_FIRST_DATE": "yesterday",
}


def test_settings_that_make_sense_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WRONG:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VPS_SENSORS", "stopped")
    refuse_wrong_settings()


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_a_setting_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSetting, match=name):
        refuse_wrong_settings()
