"""Photos: decoded once, and cut to squares; what is no photo is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import SEEK_CUR, BytesIO
from math import ceil, sqrt
from pathlib import Path
from threading import Condition

import numpy as np
from jaxtyping import UInt8
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  (registers itself)
)

from vps_ml.allocator import give_back_freed_memory
from vps_ml.photos.quality import PhotoQuality, photo_quality

MOST_PIXELS = 100_000_000
"""More is a decompression bomb, not a photo: 300 MB decoded."""
Image.MAX_IMAGE_PIXELS = None  # PIL would only warn up to twice its limit; `decoding` refuses by the header
FORMATS = ("JPEG", "PNG", "WEBP")
"""JPEG reads also MPO, what phones call a file with a second picture, depth or gain map, behind the photo. No other
decoder of Pillow's sees a byte of a file."""
ORIENTATION = 0x0112
"""EXIF tag 274 (CIPA DC-008, table 4)."""
LARGE_PIXELS = 24_000_000
"""A larger photo is reduced as soon as it is decoded: no measure and no network sees that much detail."""
BAND_ROWS = 256
"""Rows at a time where pixels are converted, so that a conversion holds no further copy of the photo."""
LEAST_SIDE_PX, MOST_ELONGATED = 32, 10
"""A picture that is smaller, or longer than so many times its width, is no photo of an item."""


def open_photo(file: Path | BytesIO) -> Image.Image:
    """Decode a photo whole, upright (EXIF orientation applied), as RGB; of an animation the first frame.

    One of more than `LARGE_PIXELS` is reduced to fewer, by a whole factor.

    Raises:
        ValueError: it cannot be decoded, or is too large; the message has the reason.
    """
    with decoding(file) as image:
        factor = ceil(sqrt(image.width * image.height / LARGE_PIXELS))
        if factor > 1:
            image.draft("RGB", (image.width // factor, image.height // factor))  # a JPEG is decoded smaller
            factor = ceil(sqrt(image.width * image.height / LARGE_PIXELS))
        return upright(image, factor)


def refuse_shape(file: Path | BytesIO) -> None:
    """Refuse a picture that no camera takes.

    Raises:
        ValueError: it is too small or too elongated, or no photo at all.
    """
    with decoding(file) as image:
        shorter, longer = sorted(image.size)
        size = f"{image.width} x {image.height} pixels"
        if shorter < LEAST_SIDE_PX:
            raise ValueError(f"{size} are no photo: each side must have {LEAST_SIDE_PX} at least")
        if longer > MOST_ELONGATED * shorter:
            raise ValueError(f"{size} are no photo: one side is over {MOST_ELONGATED} times the other")


class PixelBudget:
    """Lets threads decode at the same time as long as their photos together have no more pixels than the largest."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.taken = 0
        self.changed = Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Hold so many of them, once they are free."""
        with self.changed:
            self.changed.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()


BUDGET = PixelBudget(MOST_PIXELS)


MOST_PARTS = 20_000
"""Segments of a JPEG before its pixels, chunks of a PNG: Pillow goes through them one by one, and photos have dozens;
a PNG of 20 MB in the smallest pieces that encoders write has some 2,500."""


def refuse_many_parts(file: Path | BytesIO) -> None:
    """Refuse a file that consists of so many parts that reading their headers alone takes seconds.

    Raises:
        ValueError: it does.
    """
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
        stream.seek(0)
        start, parts = stream.read(8), 0
        is_png = start == b"\x89PNG\r\n\x1a\n"
        stream.seek(8 if is_png else 2)
        while (is_png or start[:2] == b"\xff\xd8") and len(header := stream.read(8 if is_png else 4)) >= 4:
            if not is_png and (header[0] != 0xFF or header[1] == 0xDA):
                break
            length = int.from_bytes(header[:4]) + 4 if is_png else int.from_bytes(header[2:4]) - 2
            stream.seek(max(0, length), SEEK_CUR)
            parts += 1
            if parts > MOST_PARTS:
                raise ValueError(f"it consists of over {MOST_PARTS:,} parts")
        stream.seek(0)


@contextmanager
def decoding(file: Path | BytesIO, budget: PixelBudget = BUDGET) -> Iterator[Image.Image]:
    """The image of a file that is, by its header, a photo and not too large; nothing of it is decoded yet.

    Args:
        file: a photo.
        budget: pixels that it is one of those to share.

    Raises:
        ValueError: it is not, or what the block does with it fails: decoders raise errors of many kinds.
    """
    try:
        refuse_many_parts(file)
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}")
            with budget.of(image.width * image.height):
                if image.width * image.height > LARGE_PIXELS:
                    give_back_freed_memory()
                yield image
    except UnidentifiedImageError:  # its message has the address of an object in memory, which differs each time
        raise ValueError("it is not a JPEG, PNG or WebP image") from None
    except Exception as error:  # struct.error, IndexError, KeyError ...
        raise ValueError(str(error) or type(error).__name__) from error


def upright(image: Image.Image, factor: int = 1) -> Image.Image:
    """The image decoded, reduced by a whole factor, turned to its EXIF orientation, as 8-bit RGB."""
    image.load()
    transparent = "A" in image.getbands() or "transparency" in image.info
    plain = in_bands(image, on_white if transparent or image.mode.startswith("I") else rgb)
    orientation = image.getexif().get(ORIENTATION)
    if factor > 1:
        plain = plain.reduce(factor)
    if plain is not image:
        image.close()  # frees its pixels, before another photo may be decoded
    if orientation is not None:
        plain.getexif()[ORIENTATION] = orientation
        plain = ImageOps.exif_transpose(plain)
    return plain


def in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """The image converted to RGB, `BAND_ROWS` rows at a time."""
    if image.mode == "RGB" and convert is rgb:
        return image
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + BAND_ROWS, image.height)))
        whole.paste(convert(band), (0, top))
    return whole


def rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    """The image as RGB, transparency laid over white, 16 bits of grey as 8."""
    if image.mode.startswith("I"):  # PIL would clip at 255
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def decoded(file: Path | BytesIO, photo_px: int) -> tuple[UInt8[np.ndarray, "3 y x"], PhotoQuality]:
    """One photo as a centred square of `photo_px`, and its quality before the resize."""
    photo = open_photo(file)
    square = ImageOps.fit(photo, (photo_px, photo_px), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), photo_quality(photo)


ImageFile.LOAD_TRUNCATED_IMAGES = False
