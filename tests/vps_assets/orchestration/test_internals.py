"""What is taken from Dagster's private modules."""

import re
from importlib import metadata

from conftest import REPOSITORY

from vps_assets.orchestration.internals import CHECKED_WITH

PRIVATE = re.compile(r"^\s*(from|import) dagster\w*\._", re.MULTILINE)


def test_one_module_alone_imports_private_modules_of_dagster() -> None:
    packages = [*(REPOSITORY / "vps_assets").rglob("*.py"), *(REPOSITORY / "vps_ml").rglob("*.py")]
    private = [path.name for path in packages if PRIVATE.search(path.read_text())]
    assert private == ["internals.py"]


def test_they_were_read_in_the_release_that_is_installed() -> None:
    """At an upgrade: read each of them again in the new release, then move `CHECKED_WITH`."""
    assert metadata.version("dagster") == CHECKED_WITH
