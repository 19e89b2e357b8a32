"""What runs that were killed leave behind, taken away at the start of the next run or landing."""

import shutil
from pathlib import Path

from vps_assets.home import Home
from vps_ml.store import left_behind, untouched

RESUMED_WITHIN_DAYS = 3.0
"""A training that was broken off goes on from its checkpoints; after so long nobody has come back to it."""
REEXECUTED_WITHIN_DAYS = 1.0
"""What ops hand each other is needed to re-execute a failed run from the UI."""
TEMPORARY = ("*.tmp", "landing/*.tmp", "photos/*.tmp", "models/*.tmp", "models/.*.resume/*.tmp", "embeddings/**/*.tmp")


def leftovers(home: Home) -> list[Path]:
    """Files and folders that nobody will finish or read."""
    temporary = [path for pattern in TEMPORARY for path in home.path.glob(pattern)]
    broken_off = untouched(home.models.glob(".*.resume"), RESUMED_WITHIN_DAYS)
    handed_on = untouched(home.op_outputs.glob("*"), REEXECUTED_WITHIN_DAYS)
    return [*left_behind(temporary), *broken_off, *handed_on]


def sweep(home: Home) -> None:
    """Remove them; another process may be doing the same."""
    for path in leftovers(home):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
