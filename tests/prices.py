"""A warehouse with one table, `prices`; also one whose writer was killed."""

import subprocess
import sys

import polars as pl

from vps_assets.home import Home
from vps_assets.lineage.fingerprints import Fingerprint
from vps_assets.tables.partitions import WHOLE
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import log_of
from vps_assets.warehouse.publication import publication_of

ROWS = pl.DataFrame({"day": [1, 1, 2], "low": [1.0, 2.0, 3.0], "high": [4.0, 5.0, 6.0]})
X, Y, Z = Fingerprint("x"), Fingerprint("y", 3, "content"), Fingerprint("z")


def with_prices(home: Home) -> Warehouse:
    """`ROWS`, with a fingerprint for each day; it waits for its lock for a short time."""
    made = Warehouse(home, lock_timeout_s=0.3)
    made.replace("prices", ROWS, "true", [], {"1": X, "2": Y})
    return made


KILLED_AFTER_COMMIT = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("begin")
connection.execute("delete from prices where day = 1")
connection.execute("insert into prices values (1, 10), (1, 11), (1, 12)")
connection.execute("commit")
os.kill(os.getpid(), 9)
"""


def killed_after_commit(home: Home) -> Warehouse:
    """A warehouse whose last writer was killed when its rows were in the log, and not in the file yet."""
    warehouse = Warehouse(home)
    rows = pl.DataFrame({"day": [1, 1, 1, 2], "price": [1, 2, 3, 4]})
    warehouse.replace("prices", rows, "true", [], {WHOLE: X})
    publication_of(warehouse).publish()
    subprocess.run([sys.executable, "-c", KILLED_AFTER_COMMIT, str(home.warehouse)], check=False)
    assert log_of(home).exists()
    return warehouse


COMMITTED = [(1, 10), (1, 11), (1, 12), (2, 4)]
"""What it had committed then."""
