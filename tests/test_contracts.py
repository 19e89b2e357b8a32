"""What `make check` holds is broken here on purpose, each rule once, in a copy of the packages."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

TOOLS = Path(sys.executable).parent


BREAKS = [
    ("vps_ml.recipes", "vps_assets.home", "data flows one way"),
    ("vps_ml.photos.decoding", "dagster", "in vps_ml only the ops know Dagster"),
    ("vps_ml.photos.brightness", "dagster", "in vps_ml only the ops know Dagster"),  # a new module
    ("vps_ml.features.tabular", "duckdb", "in vps_ml only the ops know Dagster"),
    ("vps_ml.backbones.files", "vps_ml.pricing.variants", "the rooms of vps_ml"),
    ("vps_assets.tables.splits", "vps_assets.lineage.graph", "the rooms of vps_assets"),
    ("vps_assets.report.tables", "vps_assets.assets.champion", "the rooms of vps_assets"),
    ("vps_assets.commands.suggest", "dagster", "one suggestion"),
    ("vps_assets.commands.suggest", "vps_assets.warehouse.settings", "one suggestion"),
    ("vps_assets.lineage.planning", "dagster", "one suggestion"),
]
"""Module, what it must not import, and the contract that says so."""
NEW_ROOMS = {"the rooms of vps_ml": "vps_ml/serving", "the rooms of vps_assets": "vps_assets/trading"}


def copied(folder: Path) -> Path:
    for package in ("vps_assets", "vps_ml"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


def checked(folder: Path, *command: str) -> str:
    """What a tool finds; empty if it finds nothing."""
    ran = subprocess.run([str(TOOLS / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True)
    return ran.stdout + ran.stderr if ran.returncode else ""


def module_level_imports(folder: Path) -> str:
    return checked(folder, "ruff", "check", "--no-cache", "--select", "TID253", "vps_assets", "vps_ml")


def add(folder: Path, module: str, line: str) -> None:
    """A line at the end of a module, which may be new."""
    path = folder / module
    path.write_text((path.read_text() if path.exists() else '"""New."""\n') + f"\n{line}\n")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contract -> what is found, where all of `BREAKS` and `NEW_ROOMS` are in the packages."""
    folder = copied(tmp_path_factory.mktemp("broken"))
    for module, imported, _ in BREAKS:
        add(folder, f"{module.replace('.', '/')}.py", f"import {imported}")
    for room in NEW_ROOMS.values():
        (folder / room).mkdir()
        (folder / room / "__init__.py").touch()
    _, details = checked(folder, "lint-imports", "--no-cache").split("Broken contracts")
    sections = re.split(r"\n(.+)\n-{9,}\n", details)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def found_by(contract: str, broken: dict[str, str]) -> str:
    return next((text for name, text in broken.items() if name.startswith(contract)), "")


def test_the_packages_as_they_are_keep_all_contracts(tmp_path: Path) -> None:
    assert checked(copied(tmp_path), "lint-imports", "--no-cache") == ""
    assert module_level_imports(tmp_path) == ""


@pytest.mark.parametrize(("module", "imported", "contract"), BREAKS)
def test_an_import_across_a_wall_is_named(module: str, imported: str, contract: str, broken: dict[str, str]) -> None:
    assert f"- {module} -> {imported} (l." in found_by(contract, broken).replace("-   ", "- ")


@pytest.mark.parametrize("contract", NEW_ROOMS)
def test_a_room_without_a_place_is_named(contract: str, broken: dict[str, str]) -> None:
    assert f"- {NEW_ROOMS[contract].replace('/', '.')}\n" in found_by(contract, broken)


@pytest.mark.parametrize("module", ["vps_ml/recipes.py", "vps_ml/pricing/variants.py", "vps_assets/assets/pricing.py"])
@pytest.mark.parametrize("line", ["import torch", "from sklearn.decomposition import PCA", "import lightgbm"])
def test_a_heavy_import_at_the_top_of_what_definitions_load_is_named(module: str, line: str, tmp_path: Path) -> None:
    add(copied(tmp_path), module, line)
    assert module in module_level_imports(tmp_path)


def test_a_folder_without_init_which_the_contracts_do_not_see_is_named(tmp_path: Path) -> None:
    (copied(tmp_path) / "vps_ml" / "serving").mkdir()
    add(tmp_path, "vps_ml/serving/api.py", "import dagster")
    assert "INP001" in checked(tmp_path, "ruff", "check", "--no-cache", "vps_ml")


def loaded(folder: Path) -> str:
    """What the line of `make check` that loads the definitions finds."""
    line = next(row for row in (REPOSITORY / "Makefile").read_text().splitlines() if "definitions import torch" in row)
    code = line.split("-c '")[1].removesuffix("'")
    environment = {"VPS_HOME": str(folder / "home"), "PYTHONPATH": str(folder), "PATH": str(TOOLS)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=environment)
    return ran.stderr if ran.returncode else ""


def test_a_module_of_torch_behind_another_that_definitions_load_is_found(tmp_path: Path) -> None:
    """The tools above see one file at a time; this one loads them all."""
    add(copied(tmp_path), "vps_ml/pricing/variants.py", "import vps_ml.pricing.networks")
    assert "definitions import torch" in loaded(tmp_path)
