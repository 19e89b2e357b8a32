"""What killed processes leave behind, removed at the start of the next run or landing."""

import shutil
from contextlib import suppress
from pathlib import Path

from vps_assets.home import Home
from vps_ml.atomic import UNOWNED_FOR_DAYS, abandoned, untouched
from vps_ml.processes import be_seen, lock_is_free

RESUMED_WITHIN_DAYS = 3.0
"""An interrupted training continues from its checkpoints; after this long nobody has come back to it."""
REEXECUTED_WITHIN_DAYS = 1.0
"""What ops pass to each other is needed to re-execute a failed run from the UI."""
LOCKS_KEPT_DAYS = 2.0
"""A free lock tells that its process has ended, as long as a run may still name it."""
FOLDERS = (
    "",
    "landing/",
    "photos/",
    "models/",
    "models/.*.resume/",
    "embeddings/",
    "embeddings/*/",
    "erasures/",
    "reports/",
)
TEMPORARY = tuple(f"{folder}.*.tmp{log}" for folder in FOLDERS for log in ("", ".wal"))


def leftovers(home: Home) -> list[Path]:
    """Files and folders that nobody will finish or read."""
    temporary = [path for pattern in TEMPORARY for path in matching(home.path, pattern)]
    interrupted = untouched(home.artefacts.models.interrupted(), RESUMED_WITHIN_DAYS)
    locks = [path for path in untouched(matching(home.processes, "*.lock"), LOCKS_KEPT_DAYS) if lock_is_free(path)]
    spilled = untouched(matching(home.path, "*.duckdb.tmp"), UNOWNED_FOR_DAYS)  # DuckDB's own default, without an owner
    passed_on = untouched(matching(home.op_outputs, "*"), REEXECUTED_WITHIN_DAYS)
    return [*locks, *spilled, *abandoned(temporary, home.processes), *interrupted, *passed_on]


def matching(folder: Path, pattern: str) -> list[Path]:
    """The paths that match; those found so far, if another process removes some meanwhile."""
    found = []
    with suppress(FileNotFoundError):
        for path in folder.glob(pattern):
            found.append(path)
    return found


def sweep(home: Home) -> None:
    """Remove the leftovers, and let other containers see this process; another process may be doing the same."""
    be_seen(home.processes)
    home.artefacts.delete_erased()
    for path in leftovers(home):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
