"""Photos: decoded once, cut to squares, measured.

The measures are computed from the luminance at a fixed size, so that they mean the same for a phone's twelve
megapixels and a thumbnail.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import SEEK_CUR, BytesIO
from math import ceil, sqrt
from pathlib import Path
from threading import Condition

import numpy as np
from jaxtyping import Float, UInt8
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  (registers itself)
)

from vps_ml.allocator import give_back_freed_memory

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
MEASURED_PX = 96
"""Longest side at which quality is measured: the smallest photo that marketplaces accept."""

BLURRED_BELOW = 0.18
DARK_BELOW = 0.20
OVEREXPOSED_ABOVE = 0.30
DRAWN_ABOVE = 2.0
"""Sharpness that text, drawings and noise have, and of 1,200 real adverts' photos 5 in a thousand."""
PLAIN_BELOW = 0.03
"""Contrast that a card or an evenly lit wall has, and of the same photos, blurred, not one."""
ADVICE = {
    "blurred": "Hold the phone still, wait until it has focused, and take the photo again.",
    "dark": "Take the photo again in daylight or under a lamp.",
    "overexposed": "Take the photo again away from direct light, and without the flash.",
    "too_little_information": "Show the whole item alone, from the front, on a plain background.",
}


@dataclass(frozen=True)
class PhotoQuality:
    """What can be measured in a photo without knowing what it shows."""

    sharpness: float
    """Root mean square of the Laplacian over that of the luminance around its mean: fine detail per contrast."""
    brightness: float
    """Mean luminance, 0 black to 1 white."""
    contrast: float
    """Standard deviation of the luminance, 0 to 0.5."""
    overexposed_share: float
    """Share of pixels at the white end of the scale (luminance above 0.97)."""


QUALITY_COLUMNS = ("sharpness", "brightness", "contrast", "overexposed_share")


def photo_quality(photo: Image.Image) -> PhotoQuality:
    """Measure an RGB photo's sharpness and exposure."""
    grey = photo.convert("L")
    grey.thumbnail((MEASURED_PX, MEASURED_PX), Image.Resampling.BOX)
    luminance = np.asarray(grey, dtype=np.float64) / 255
    padded = np.pad(luminance, 1, mode="edge")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * luminance
    contrast = float(luminance.std())
    return PhotoQuality(
        sharpness=float(np.sqrt(np.square(laplacian).mean())) / max(contrast, 1 / 255),
        brightness=float(luminance.mean()),
        contrast=contrast,
        overexposed_share=float((luminance > 0.97).mean()),
    )


def unqualified_reason(quality: PhotoQuality) -> str:
    """The reason why a photo is unqualified: what was measured, else `too_little_information`.

    Exposure comes before blur: a black or a white photo has no detail either, and blur would be the wrong advice. What
    is no photo of an item at all is not told to be taken again in other light: a page of text is white, a card smooth.
    A smooth picture with more contrast than that, a wall lit from one side, looks like a blurred one.
    """
    if quality.brightness < DARK_BELOW:
        return "dark"
    if quality.sharpness > DRAWN_ABOVE:
        return "too_little_information"
    if quality.overexposed_share > OVEREXPOSED_ABOVE:
        return "overexposed"
    if quality.sharpness < BLURRED_BELOW and quality.contrast >= PLAIN_BELOW:
        return "blurred"
    return "too_little_information"


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


BATCH_PHOTOS = 64
"""Photos per batch where nothing is trained."""
AHEAD_PHOTOS = 512
TOGETHER = 8
"""Photos that a worker is asked for at a time: with one, processes spend their time on messages."""
MOST_THREADS = 4
WORTH_PROCESSES = 2000
"""Photos from which on it is worth starting processes, which takes a second."""
IDLE_S = 60
"""Processes that nobody has asked for so long end; until then the next call has them at once."""


def in_batches(paths: Sequence[Path]) -> list[Sequence[Path]]:
    """The paths, `BATCH_PHOTOS` at a time."""
    return [paths[i : i + BATCH_PHOTOS] for i in range(0, len(paths), BATCH_PHOTOS)]


@contextmanager
def decoders(workers: int, photos: int) -> Iterator[Executor]:
    """Threads or, for many photos on many cores, processes: threads wait for each other in what Python itself does.

    On 16 cores 2 threads decoded 600 of the demo's photos a second, 16 threads 490 and 16 processes 2,800.
    """
    if workers <= MOST_THREADS or photos < WORTH_PROCESSES:
        with ThreadPoolExecutor(workers) as threads:
            yield threads
    else:
        from joblib.externals.loky import get_reusable_executor  # 1 s, and only where there are many cores

        yield get_reusable_executor(workers, timeout=IDLE_S)  # unlike the standard library's, they do not import torch


def photo_batches(
    batches: Sequence[Sequence[Path]], photo_px: int, workers: int | None = None
) -> Iterator[tuple[UInt8[np.ndarray, "photo 3 y x"], Float[np.ndarray, "photo 4"]]]:
    """Batches of decoded photos with their measures (`QUALITY_COLUMNS`), in order.

    Each photo is read and decoded once, by workers (as many as there are cores) that stay `AHEAD_PHOTOS` ahead of the
    network; memory holds no more than these, however many photos there are.
    """
    workers = workers or os.cpu_count() or 1
    with decoders(workers, sum(map(len, batches))) as pool:
        waiting: deque[list[Future]] = deque()
        to_come = iter(batches)
        while True:
            while TOGETHER * sum(map(len, waiting)) < AHEAD_PHOTOS and (batch := next(to_come, None)):
                parts = [batch[i : i + TOGETHER] for i in range(0, len(batch), TOGETHER)]
                waiting.append([pool.submit(decoded_together, part, photo_px) for part in parts])
            if not waiting:
                return
            photos, measures = zip(*(future.result() for future in waiting.popleft()), strict=True)
            yield np.concatenate(photos), np.concatenate(measures)


def decoded_together(
    paths: Sequence[Path], photo_px: int
) -> tuple[UInt8[np.ndarray, "photo 3 y x"], Float[np.ndarray, "photo 4"]]:
    """Some photos, at least one, with their measures: what is asked of a worker at a time."""
    photos, qualities = zip(*(decoded(path, photo_px) for path in paths), strict=True)
    measures = [[getattr(quality, column) for column in QUALITY_COLUMNS] for quality in qualities]
    return np.stack(photos), np.array(measures, dtype=np.float64)


ImageFile.LOAD_TRUNCATED_IMAGES = False
