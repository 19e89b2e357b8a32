"""Which files of the inbox are to be landed: a pure function of (cursor, files)."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from vps_assets.landing.inbox import Dropped
from vps_assets.orchestration.backoff import Attempts
from vps_ml.cards import identity

MOST_ATTEMPTS = 8
"""A file whose runs have broken off as often, over two hours, is refused."""


@dataclass(frozen=True)
class Requested:
    """A file that was requested to be landed, as it was then."""

    size: int
    modified_ns: int
    attempts: Attempts = field(default_factory=Attempts)

    def same_as(self, file: Dropped) -> bool:
        return (self.size, self.modified_ns) == (file.size, file.modified_ns)


@dataclass(frozen=True)
class Cursor:
    """What earlier ticks saw and requested, by name."""

    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """(size, time of the last change, ns)."""
    requested: dict[str, Requested] = field(default_factory=dict)
    number: int = 0
    """Of all requests so far: a run key is never used twice."""

    @classmethod
    def read(cls, text: str | None) -> "Cursor":
        """The stored cursor; of an earlier version's only `seen` and `number` count."""
        values = json.loads(text) if text else {}
        seen = {name: (size, modified) for name, (size, modified) in values.get("seen", {}).items()}
        requested = {
            name: Requested(**(value | {"attempts": Attempts(**value["attempts"])}))
            for name, value in values.get("requested", {}).items()
        }
        return cls(seen, requested, values.get("number", 0))

    def write(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Intake:
    """The result of a tick of `inbox_sensor`."""

    cursor: str
    files: tuple[str, ...]
    """To land in one run, in this order; empty if there is nothing to do."""
    given_up: tuple[str, ...]
    """Those of them that are to be refused."""
    run_key: str
    message: str


def decide(stored: str | None, files: Sequence[Dropped], unfinished: int, now: float) -> Intake:
    """Request the files that have not changed since the last tick, in one run.

    A file leaves the inbox when it has landed or was refused. One that is still in it after its run was interrupted
    (killed, disk full) is requested again after a pause that grows (see `Attempts`), and alone, since any of the files
    of that run may have broken it. After `MOST_ATTEMPTS` it is given up.

    Args:
        stored: the cursor.
        files: those in the inbox.
        unfinished: unfinished runs that land files.
        now: seconds since 1970.
    """
    cursor = Cursor.read(stored)
    requested = {
        file.name: replace(earlier, attempts=earlier.attempts.capped(now))
        for file in files
        if (earlier := cursor.requested.get(file.name)) is not None and earlier.same_as(file)
    }
    attempts = {file.name: requested[file.name].attempts if file.name in requested else Attempts() for file in files}
    settled = [file for file in files if cursor.seen.get(file.name) == (file.size, file.modified_ns)]
    due = [] if unfinished else [file for file in settled if attempts[file.name].due(now)]
    new = [file for file in due if not attempts[file.name].count]
    due = new or sorted(due, key=lambda file: attempts[file.name].count)[:1]
    given_up = tuple(file.name for file in due if attempts[file.name].count >= MOST_ATTEMPTS)
    for file in due:
        requested[file.name] = Requested(file.size, file.modified_ns, attempts[file.name].again(now))
    seen = {file.name: (file.size, file.modified_ns) for file in files}
    following = Cursor(seen, requested, cursor.number + bool(due))
    message = f"{len(due)} files to land, {len(files) - len(due)} wait" if files else "nothing in the inbox"
    run_key = f"{identity([asdict(file) for file in due])}-{following.number}"
    return Intake(following.write(), tuple(file.name for file in due), given_up, run_key, message)
