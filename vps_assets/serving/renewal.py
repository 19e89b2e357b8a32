"""The snapshot in force: whatever is published next is loaded and warmed beside it, then takes its place."""

import logging
import threading
from datetime import UTC, datetime
from io import BytesIO
from time import monotonic

from PIL import Image

from vps_assets.errors import UserError, one_line
from vps_assets.home import Home
from vps_assets.serving.offers import Offer
from vps_assets.serving.snapshot import Snapshot
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.publication import publication_of
from vps_ml.backbones.tasks import INPUTS

LOOKS_EVERY_S = 1.0
TRIES_AGAIN_AFTER_S = 30.0
"""A publication that could not be loaded is tried again: what it lacks may have been mended."""
log = logging.getLogger("vps")


def warmed(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every champion loaded and run once.

    Raises:
        UserError: one of them gives no answer.
    """
    photo = BytesIO()
    Image.new("RGB", (64, 64), "grey").save(photo, "JPEG")
    trials = {
        "photo": Offer("", photo.getvalue(), any_category=True),
        "words": Offer("", title="a trial", any_category=True),
        "both": Offer("", photo.getvalue(), title="a trial", any_category=True),
    }
    there = set(snapshot.tables["champion_model"]["inputs"].fill_null("photo"))
    for answer in snapshot.suggestions([trials[inputs] for inputs in INPUTS if inputs in there]):
        if isinstance(answer, UserError):
            raise answer
    return snapshot


class Renewal:
    """Looks for a new publication every second, in a thread of its own."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.snapshot: Snapshot | None = None
        self.loaded_at: datetime | None = None
        self.failure: str | None = None
        """Why the newest publication is not the one in force."""
        self._seen: object | None = None
        self._tried = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)

    def start(self) -> None:
        """Load the newest publication, and look for others from then on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def in_force(self) -> Snapshot:
        """The snapshot to answer from.

        Raises:
            RuntimeError: none is loaded yet.
        """
        if self.snapshot is None:
            raise RuntimeError("no snapshot is loaded yet")
        return self.snapshot

    def look(self) -> None:
        """Load what has been published since; what cannot be loaded leaves all as it was."""
        try:
            published = publication_of(Warehouse(self.home)).newest()
            again = self.failure is not None and monotonic() - self._tried >= TRIES_AGAIN_AFTER_S
            if published == self._seen and not again:
                return
            self._seen, self._tried = published, monotonic()
            if published is None and self.snapshot is None:
                return  # nothing was ever published
            self.snapshot = warmed(Snapshot.read(self.home, self.snapshot))
            self.snapshot.champions.alone()
            self.loaded_at, self.failure = datetime.now(UTC), None
            log.info("a publication is served", extra={"fields": {"champions": self.snapshot.champions.model_ids()}})
        except BaseException as error:  # whatever it is (a panic in a library, too), the one before serves on
            self._tried, told = monotonic(), one_line(error)
            if told != self.failure:
                log.error("a publication cannot be served, the one before goes on: %s", told)
            self.failure = told

    def looks(self) -> bool:
        """Whether new publications are looked for."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(LOOKS_EVERY_S)
