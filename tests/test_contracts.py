"""What `make check` holds is broken here on purpose, each rule once, in a copy of the packages."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY

TOOLS = Path(sys.executable).parent


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in ("vps_assets", "vps_ml"):
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def checked(folder: Path, *command: str) -> str:
    """What a tool finds; empty if it finds nothing."""
    ran = subprocess.run([str(TOOLS / command[0]), *command[1:]], cwd=folder, capture_output=True, text=True)
    return ran.stdout + ran.stderr if ran.returncode else ""


def contracts(folder: Path) -> str:
    return checked(folder, "lint-imports", "--no-cache")


def module_level_imports(folder: Path) -> str:
    return checked(folder, "ruff", "check", "--no-cache", "--select", "TID253", "vps_assets", "vps_ml")


def add(folder: Path, module: str, line: str) -> None:
    """A line at the end of a module, which may be new."""
    path = folder / module
    path.write_text((path.read_text() if path.exists() else '"""New."""\n') + f"\n{line}\n")


def test_the_packages_as_they_are_keep_all_contracts(copied: Path) -> None:
    assert contracts(copied) == ""
    assert module_level_imports(copied) == ""


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("vps_ml/recipes.py", "import vps_assets.home", "vps_ml never imports vps_assets"),
        ("vps_ml/photos/decoding.py", "import dagster", "only the ops know Dagster"),
        ("vps_ml/photos/brightness.py", "import dagster", "only the ops know Dagster"),
        ("vps_ml/features/tabular.py", "import duckdb", "nothing knows DuckDB"),
        ("vps_ml/backbones/files.py", "import vps_ml.pricing.variants", "the rooms of vps_ml"),
        ("vps_ml/serving.py", "", "the rooms of vps_ml"),
        ("vps_assets/tables/splits.py", "import vps_assets.lineage.graph", "the rooms of vps_assets"),
        ("vps_assets/report/tables.py", "import vps_assets.assets.champion", "the rooms of vps_assets"),
        ("vps_assets/serving/__init__.py", "", "the rooms of vps_assets"),
        ("vps_assets/commands/suggest.py", "import dagster", "one suggestion"),
        ("vps_assets/commands/suggest.py", "import vps_assets.warehouse.settings", "one suggestion"),
        ("vps_assets/lineage/planning.py", "import dagster", "one suggestion, planning"),
    ],
)
def test_an_import_across_a_wall_is_named(copied: Path, module: str, line: str, broken: str) -> None:
    if "/serving/" in module:
        (copied / module).parent.mkdir()
    add(copied, module, line)
    found = contracts(copied)
    assert broken in found
    assert "BROKEN" in found or "No layer" in found or "not listed" in found or "Invalid" in found, found


@pytest.mark.parametrize("module", ["vps_ml/recipes.py", "vps_ml/pricing/variants.py", "vps_assets/assets/pricing.py"])
@pytest.mark.parametrize("line", ["import torch", "from sklearn.decomposition import PCA", "import lightgbm"])
def test_a_heavy_import_at_the_top_of_what_definitions_load_is_named(copied: Path, module: str, line: str) -> None:
    add(copied, module, line)
    assert module in module_level_imports(copied)


def loads(folder: Path, change: Callable[[], None]) -> int:
    """The exit code of the line of `make check` that loads the definitions, after a change."""
    change()
    line = next(row for row in (REPOSITORY / "Makefile").read_text().splitlines() if "definitions import torch" in row)
    code = line.split("-c '")[1].removesuffix("'")
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env={
        "VPS_HOME": str(folder / "home"), "PYTHONPATH": str(folder), "PATH": str(TOOLS),
    })  # fmt: skip
    return ran.returncode


def test_a_module_of_torch_behind_another_that_definitions_load_is_found(copied: Path) -> None:
    """The tools above see one file at a time; this one loads them all."""
    assert loads(copied, lambda: None) == 0
    assert loads(copied, lambda: add(copied, "vps_ml/pricing/variants.py", "import vps_ml.pricing.networks")) == 1
