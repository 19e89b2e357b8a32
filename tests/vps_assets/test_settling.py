"""What DuckDB could not hold in memory is nowhere once its process has ended; it says nothing on the way."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from vps_assets.home import Home
from vps_assets.settling import settle
from vps_assets.sweeping import leftovers, sweep

SPILL = """
import os, sys
from pathlib import Path
from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
with Warehouse(Home(Path(sys.argv[1]))).connect(read_only=False) as connection:
    connection.execute("set memory_limit = '60MB'")
    connection.execute("set threads = 1")
    connection.execute(
        "create temp table spilt as "
        "select 'seller S001 ' || i as seller, random() as r from range(2000000) t(i) order by r"
    )
    with Warehouse(Home(Path(sys.argv[1]))).connect(read_only=False) as beside:  # a second one, on the same database
        assert beside.execute("select 1").fetchall() == [(1,)]
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
"""


def spilt(home: Home, end: str, where: Path) -> int:
    """Exit status of a process that has DuckDB spill and then ends so."""
    where.mkdir()
    return subprocess.run([sys.executable, "-c", SPILL, str(home.path), end], cwd=where, check=False).returncode


def files_with_rows(*folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if b"seller S001" in path.read_bytes()]


def test_what_a_killed_process_has_spilled_is_swept(home: Home, tmp_path: Path) -> None:
    assert spilt(home, "killed", tmp_path / "work") == -9
    assert files_with_rows(home.path)
    sweep(home)
    assert not files_with_rows(home.path, tmp_path / "work") and leftovers(home) == []


def test_of_a_process_that_ends_nothing_is_left(home: Home, tmp_path: Path) -> None:
    assert spilt(home, "well", tmp_path / "work") == 0  # having spilled: the other test's process, but for its end
    assert not files_with_rows(home.path, tmp_path / "work") and leftovers(home) == []


ASK = """
import sys
from pathlib import Path
from vps_assets.home import Home
from vps_assets.warehouse.database import Warehouse
for read_only in (False, True):
    with Warehouse(Home(Path(sys.argv[1]))).connect(read_only=read_only) as connection:
        print(connection.execute("select current_setting('enable_progress_bar')").fetchall())
"""


def test_no_connection_draws_a_progress_bar(home: Home) -> None:
    """Of a process without a main file, such as a spawned one, DuckDB thinks that somebody watches it."""
    asked = subprocess.run([sys.executable, "-c", ASK, str(home.path)], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["[(False,)]"] * 2


def test_databases_of_one_process_spill_into_folders_of_their_own(tmp_path: Path) -> None:
    """DuckDB's files have the same names in each: in one folder they would be written over."""
    spill = """
        create temp table spilt as
        select md5(i::text) as text, hash(i) as number from range(700000) t(i) order by number
    """
    names = ("first", "second", "")
    with ExitStack() as stack:
        opened = []
        for name in names:
            database = str(tmp_path / f"{name}.duckdb") if name else ""
            connection = stack.enter_context(duckdb.connect(database or ":memory:"))
            settle(connection, tmp_path, database)
            connection.execute("set memory_limit = '40MB'; set threads = 1")
            connection.execute(spill)
            opened.append(connection)
        assert len([path for path in tmp_path.glob(".*.tmp") if any(path.iterdir())]) == len(names)
        answers = {str(c.execute("select count(*), bit_xor(number), max(text) from spilt").fetchall()) for c in opened}
        assert len(answers) == 1
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("database", ["warehouse", "analytics"])
def test_what_a_plain_duckdb_has_spilled_is_swept_once_nobody_has_written_it_for_a_day(
    home: Home, database: str
) -> None:
    """A version before ours, an analyst: whose it is cannot be seen, and they may be at work."""
    folder = home.path / f"{database}.duckdb.tmp"
    folder.mkdir(parents=True)
    file = folder / "duckdb_temp_storage_DEFAULT-0.tmp"
    file.write_text("seller S001")
    sweep(home)
    assert file.exists()
    for path in (file, folder):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    sweep(home)
    assert not folder.exists()
