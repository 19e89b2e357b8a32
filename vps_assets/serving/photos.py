"""Photos of sold items, small: those that may stand beside a suggestion, and no others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import ImageOps
from starlette.requests import Request

from vps_assets.serving.problems import Refused
from vps_assets.serving.service import service_of
from vps_ml.photos.decoding import decoding, upright

SIDE_PX, QUALITY = 256, 80
AT_ONCE = 2
"""A photo that is being made smaller may take 300 MB."""
shrinkers = ThreadPoolExecutor(AT_ONCE, "photos")


async def photo_for(request: Request, photo_hash: str) -> bytes:
    """A JPEG of a photo that may be shown.

    Raises:
        Refused: it may not, or it is gone.
    """
    service = service_of(request)
    service.admit_photo(request.client.host if request.client else "")
    snapshot = service.served()
    if not snapshot.champions.shows(photo_hash):
        raise Refused(404, "There is no such photo.")
    try:
        return await asyncio.get_running_loop().run_in_executor(
            shrinkers, small, snapshot.home.artefacts.photo(photo_hash)
        )
    except (OSError, ValueError):
        raise Refused(404, "The photo is gone.") from None


def small(path: Path) -> bytes:
    """The photo as a small square JPEG.

    Raises:
        OSError: it cannot be read.
        ValueError: it cannot be decoded.
    """
    with decoding(path) as image:
        image.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
        written = BytesIO()
        ImageOps.fit(upright(image), (SIDE_PX, SIDE_PX)).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
