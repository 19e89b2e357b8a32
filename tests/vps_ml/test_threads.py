"""How threads wait for each other is set before the libraries that read it are loaded."""

import os
import subprocess
import sys

import pytest

LIBRARIES = ("torch", "lightgbm", "sklearn")


@pytest.mark.parametrize("own,expected", [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_waiting_threads_sleep_unless_somebody_says_otherwise(own: dict[str, str], expected: str) -> None:
    """Or two runs on the same cores starve each other."""
    code = (
        "import os, sys; from vps_assets.cli import main;"
        f"print(os.environ['OMP_WAIT_POLICY'], [m for m in {LIBRARIES} if m in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | own
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"{expected} []"
