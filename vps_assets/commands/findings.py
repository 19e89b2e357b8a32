"""What an examination of `vps doctor` looks at, and what it finds."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import dagster as dg

from vps_assets.home import Home
from vps_assets.orchestration.instance import open_instance
from vps_assets.warehouse.database import Warehouse
from vps_ml.recipes import Recipe

OK, LOOK, BAD = "ok", "look", "bad"
LEAST_FREE_GIB = 1.0
ROOM_FOR_TABLES = 4
"""Times the tables' file: a publication writes a second copy beside the first, and a run's logs and files come on top,
models as large as those that there are if it trains."""
LOCK_TIMEOUT_S = 10.0
DAEMON_SILENT_S = 300.0
FRESH_WITHIN = timedelta(hours=48)
LATELY_S = 86400.0
RECORDS = {"history": ("runs.db", "runs/index.db"), "schedules": ("schedules.db",)}
"""Folders of Dagster's records, and their databases."""
READ_BYTES = 2 << 30
"""Tables and artefacts of up to so many bytes are read whole, which takes some seconds."""


@dataclass(frozen=True)
class Finding:
    """The result of one examination."""

    state: str
    """ok, look (somebody should, at some time) or bad (it does not work)."""
    message: str
    to_do: str = ""


def ok(message: str) -> Finding:
    return Finding(OK, message)


@dataclass(frozen=True)
class Examined:
    """What the examinations look at."""

    home: Home
    recipe: Recipe
    deep: bool
    """Whether every byte is read, however many there are."""
    open: ExitStack

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home, LOCK_TIMEOUT_S)

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's records, which may be what is broken."""
        return self.open.enter_context(open_instance(self.home))

    @cached_property
    def reads_all(self) -> bool:
        """Whether the content of tables and artefacts is read: always, unless that would take long."""
        folders = (self.home.artefacts.models.folder, self.home.artefacts.embeddings.folder)
        files = [self.home.warehouse, *(path for folder in folders for path in folder.rglob("*"))]
        return self.deep or sum(path.stat().st_size for path in files if path.is_file()) < READ_BYTES

    @property
    def left_out(self) -> str:
        return "" if self.reads_all else "; its content was not read: vps doctor --deep does"
