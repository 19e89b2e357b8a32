"""What is installed from a wheel works in an empty folder, far from the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import REPOSITORY
from scenario import listing, listings_file

VPS = "from vps_assets.cli import main; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as site-packages has it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):  # setuptools leaves its build folder beside what it builds
        if (REPOSITORY / name).is_file() and name.startswith(("vps_", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def vps(site: Path, folder: Path, *arguments: str) -> str:
    """What the command prints, run in an empty folder with the wheel's code alone."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VPS_") and k != "DAGSTER_HOME"}
    folder.mkdir(exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-c", VPS, *arguments], cwd=folder, env=clean | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def test_every_file_of_the_packages_is_in_the_wheel(installed: Path) -> None:
    ours = {
        path.relative_to(REPOSITORY)
        for package in ("vps_assets", "vps_ml")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in ours if not (installed / path).is_file()} == set()
    assert any(path.suffix == ".html" for path in ours)


def test_it_lands_and_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = "import vps_assets; print(vps_assets.__file__)"
    clean = os.environ | {"PYTHONPATH": str(installed)}
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert found.stdout.startswith(str(installed))
    file = listings_file(tmp_path / "new", [listing(1), listing(2)])
    folder = tmp_path / "empty"
    assert "2 rows" in vps(installed, folder, "land", str(file))
    assert "1 Dagster runs" in vps(installed, folder, "run", "--select", "raw_listings")
    assert (folder / "data" / "analytics.duckdb").exists()
    assert "vps 0." in vps(installed, folder, "--version")
