"""What DuckDB could not hold in memory is nowhere once its process has ended; it says nothing on the way."""

import subprocess
import sys
from pathlib import Path

from vps_assets.home import Home
from vps_assets.sweeping import leftovers, sweep
from vps_assets.warehouse.database import Warehouse

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
    assert spilt(home, "well", tmp_path / "work") == 0
    assert not files_with_rows(home.path, tmp_path / "work") and leftovers(home) == []


def test_no_connection_draws_a_progress_bar(home: Home) -> None:
    warehouse = Warehouse(home)
    for read_only in (False, True):
        with warehouse.connect(read_only=read_only) as connection:
            assert connection.execute("select current_setting('enable_progress_bar')").fetchall() == [(False,)]


def test_what_an_earlier_version_has_spilled_is_swept(home: Home) -> None:
    (home.path / "warehouse.duckdb.tmp").mkdir(parents=True)
    (home.path / "warehouse.duckdb.tmp" / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("seller S001")
    with Warehouse(home).connect(read_only=False):
        pass
    sweep(home)
    assert not files_with_rows(home.path) and not (home.path / "warehouse.duckdb.tmp").exists()
