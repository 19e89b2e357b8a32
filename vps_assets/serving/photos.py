"""Photos of sold items, small: those that may stand beside a suggestion, and no others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import ImageOps
from starlette.requests import Request

from vps_assets.serving.problems import Refused, later
from vps_assets.serving.service import service_of
from vps_ml.photos.decoding import MOST_PIXELS, PixelBudget, decoding, upright

SIDE_PX, QUALITY = 256, 80
AT_ONCE = 2
"""A photo that is being made smaller may take 300 MB."""
MOST_WAITING = 32
BUDGET = PixelBudget(MOST_PIXELS)
"""Their own: who looks at sold items must not hold up who waits for a price."""


class Shrinkers:
    """Threads that make photos small, so many waiting at most."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(AT_ONCE, "photos")
        self.waiting = 0

    async def small(self, path: Path) -> bytes:
        """The photo, small.

        Raises:
            Refused: too many wait.
            OSError: it cannot be read.
            ValueError: it cannot be decoded.
        """
        if self.waiting >= MOST_WAITING:
            raise later(503, "Too many others wait for photos.", 1)
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, small, path)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Leave what waits."""
        self.pool.shutdown(cancel_futures=True)


async def photo_for(request: Request, photo_hash: str) -> bytes:
    """A JPEG of a photo that may be shown.

    Raises:
        Refused: it may not, it is gone, or too many wait.
    """
    service = service_of(request)
    service.admit_photo(request.client.host if request.client else "")
    snapshot = service.served()
    path = snapshot.home.artefacts.photo(photo_hash) if snapshot.champions.shows(photo_hash) else None
    try:
        if path is None or not path.exists():  # of one who is forgotten; it may have been made small before
            raise FileNotFoundError
        return await request.app.state.shrinkers.small(path)
    except (OSError, ValueError):
        raise Refused(404, "There is no such photo.") from None


@lru_cache(maxsize=512)
def small(path: Path) -> bytes:
    """The photo as a small square JPEG; photos never change, so it is kept.

    Raises:
        OSError: it cannot be read.
        ValueError: it cannot be decoded.
    """
    with decoding(path, BUDGET) as image:
        image.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
        written = BytesIO()
        ImageOps.fit(upright(image), (SIDE_PX, SIDE_PX)).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
