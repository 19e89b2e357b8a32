"""`vps doctor`: whether the state is healthy, in ten lines, and what to do if it is not."""

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
from sqlalchemy.exc import SQLAlchemyError

from vps_assets.commands.data_examinations import (
    examine_champion,
    examine_copy,
    examine_disk,
    examine_inbox,
    examine_lineage,
    examine_suggestions,
    examine_warehouse,
)
from vps_assets.commands.findings import BAD, RECORDS, Examined, Finding
from vps_assets.commands.run_examinations import examine_checks, examine_runs, examine_sensors
from vps_assets.errors import one_line
from vps_assets.home import Home
from vps_assets.orchestration.instance import WrongInstance
from vps_assets.warehouse.file import LostWarehouse, log_of
from vps_ml.recipes import Recipe


@dataclass(frozen=True)
class Line:
    """A finding with its subject, as it is printed."""

    subject: str
    finding: Finding

    @property
    def works(self) -> bool:
        return self.finding.state != BAD

    def __str__(self) -> str:
        to_do = f" -> {self.finding.to_do}" if self.finding.to_do else ""
        return f"{self.finding.state:4}  {self.subject:14}  {self.finding.message}{to_do}"


def examine(home: Home, recipe: Recipe, *, deep: bool = False) -> list[Line]:
    """The ten lines; an examination that fails is a line with the error, and the others are made all the same."""
    lines = [Line("disk", examine_disk(home))]
    if not lines[0].works and not os.access(home.path, os.W_OK):
        return lines
    with ExitStack() as stack:
        examined = Examined(home, recipe, deep, stack)
        for subject, examination in EXAMINATIONS.items():
            try:
                finding = examination(examined)
            except Exception as error:  # whatever is broken, the other lines are to be read
                to_do = cure(error, home) or f"see docs/operations.md, “{subject}”"
                finding = Finding(BAD, one_line(error)[:200], to_do)
            lines.append(Line(subject, finding))
    return lines


def cure(error: Exception, home: Home) -> str:
    """What helps against an error of a file that is broken as a whole; "" if it is another."""
    if isinstance(error, LostWarehouse):
        return f"cp {home.analytics} {home.warehouse}; vps run"
    if isinstance(error, duckdb.IOException | duckdb.FatalException | duckdb.SerializationException):
        if home.lake:
            return "are the lake's Postgres and its bucket there? See docs/scale.md"
        if not home.analytics.exists():
            return "restore warehouse.duckdb from the backup"
        log = log_of(home)  # DuckDB would apply it to the copy, whose rows are others
        aside = f"; mv {log} {home.warehouse}.broken.wal" if log.exists() else ""
        return f"mv {home.warehouse} {home.warehouse}.broken{aside}; cp {home.analytics} {home.warehouse}; vps run"
    if isinstance(error, SQLAlchemyError | sqlite3.Error):
        broken = [f"mv {folder} {folder}.broken" for folder in broken_records(home)]
        return f"{'; '.join(broken)} (with no daemon running; the history in the UI begins anew)" if broken else ""
    if isinstance(error, WrongInstance):
        return f"rm {home.dagster}/dagster.yaml (the default settings take its place)"
    return ""


def broken_records(home: Home) -> list[Path]:
    """The folders of Dagster's records, no data of ours, in which a database cannot be read."""
    found = []
    for folder, databases in RECORDS.items():
        for database in databases:
            try:
                with closing(sqlite3.connect(home.dagster / folder / database)) as connection:
                    connection.execute("pragma schema_version").fetchall()
            except sqlite3.Error:
                found.append(home.dagster / folder)
                break
    return found


EXAMINATIONS: Mapping[str, Callable[[Examined], Finding]] = {
    "warehouse": examine_warehouse,
    "analysts' copy": examine_copy,
    "inbox": examine_inbox,
    "lineage": examine_lineage,
    "champion": examine_champion,
    "suggestions": examine_suggestions,
    "runs": examine_runs,
    "checks": examine_checks,
    "sensors": examine_sensors,
}
"""With the disk, ten lines."""
