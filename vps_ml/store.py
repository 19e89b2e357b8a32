"""Artefacts on disk: immutable folders, named by the id of what determines them."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ID_LENGTH = 16
CARD = "card.json"


def identity(*parts: Any) -> str:
    """A short id that is equal exactly when the parts are: 16 hexadecimal digits of SHA-256 over their JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def resume_folder(root: Path, artefact_id: str) -> Path:
    """Where an artefact that is being made keeps its checkpoints; gone once it is made."""
    return root / f".{artefact_id}.resume"


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that gets its name when the block ends well: readers find all or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def artefact(root: Path, artefact_id: str, make: Callable[[Path], dict]) -> Path:
    """The folder `root/artefact_id`, made by `make(folder)` where it is not there yet.

    `make` fills an empty temporary folder and returns the card; the folder gets its name by one rename, so that
    a reader finds all of it or nothing, and a kill leaves only a temporary folder that nobody reads.
    """
    final = root / artefact_id
    if (final / CARD).exists():
        shutil.rmtree(resume_folder(root, artefact_id), ignore_errors=True)  # of a run killed just after the rename
        return final
    temporary = root / f".{artefact_id}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    try:
        card = make(temporary)
        (temporary / CARD).write_text(json.dumps(card, indent=2, sort_keys=True, default=str))
        temporary.replace(final)
    except OSError:
        if not (final / CARD).exists():  # not another run that made the same artefact first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(resume_folder(root, artefact_id), ignore_errors=True)
    return final


def card(folder: Path | str) -> dict:
    """What `make` said of the artefact in this folder."""
    return json.loads((Path(folder) / CARD).read_text())
