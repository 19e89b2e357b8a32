import importlib
import pkgutil
import sqlite3
import sys

import pytest
import typer
from sqlalchemy.exc import OperationalError

import vps_assets
from vps_assets.cli import one_line_errors
from vps_assets.errors import Failure, UserError, VpsError, one_line


def all_errors() -> list[type[Exception]]:
    """Every exception class that a module of `vps_assets` defines."""
    found = {}
    for module in pkgutil.walk_packages(vps_assets.__path__, "vps_assets."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.name:
                found[f"{value.__module__}.{value.__name__}"] = value
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("error", [e for e in all_errors() if e is not VpsError], ids=lambda e: e.__name__)
def test_every_error_of_ours_is_the_users_or_a_failure(error: type[Exception]) -> None:
    assert issubclass(error, UserError) != issubclass(error, Failure)


@pytest.mark.parametrize(("error", "code"), [(UserError("two\nlines"), 2), (Failure("two\nlines"), 1)])
def test_the_command_line_maps_the_tree_to_exit_codes_and_one_line(
    error: VpsError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, one_line_errors():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == "vps: two lines\n"


def test_an_error_of_dagsters_records_is_one_line_that_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, one_line_errors():
        raise OperationalError("select 1", {}, sqlite3.OperationalError("database disk image\nis malformed"))
    assert ended.value.exit_code == 1
    said = "vps: Dagster's records: database disk image is malformed (vps doctor says what to do)\n"
    assert capsys.readouterr().err == said


def test_without_records_there_are_no_errors_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sqlalchemy.exc")
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError


def test_an_error_without_a_message_is_named_by_its_class() -> None:
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
