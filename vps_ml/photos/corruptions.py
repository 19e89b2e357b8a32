"""Photos made worse on purpose, at four severities, after ImageNet-C (Hendrycks and Dietterich, 2019)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

from vps_ml.photos.decoding import open_photo


def shrunk(path: Path, side_px: int) -> Image.Image:
    """The photo, no side longer than `side_px`: a phone's photo is fifty times what the networks take.

    Raises:
        ValueError: it cannot be decoded.
    """
    photo = open_photo(path)
    photo.thumbnail((side_px, side_px))
    return photo


def blurred(photo: Image.Image, strength: float) -> Image.Image:
    """Gaussian blur; `strength`: its radius as a share of the longest side."""
    return photo.filter(ImageFilter.GaussianBlur(strength * max(photo.size)))


def darkened(photo: Image.Image, strength: float) -> Image.Image:
    """Every pixel's light times `strength`."""
    return ImageEnhance.Brightness(photo).enhance(strength)


def cropped(photo: Image.Image, strength: float) -> Image.Image:
    """The middle of the photo, `strength` of its width and height, as if taken from too near."""
    width, height = (max(1, round(strength * length)) for length in photo.size)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Corruption:
    """A way to make a photo worse, and how strong each severity is; severity 0 is the photo as it is."""

    apply: Callable[..., Image.Image]
    """(photo, strength) -> photo."""
    strengths: tuple[float, ...]


CORRUPTIONS: Mapping[str, Corruption] = {
    "blur": Corruption(blurred, (0.01, 0.02, 0.04, 0.08)),
    "darken": Corruption(darkened, (0.5, 0.25, 0.12, 0.05)),
    "crop": Corruption(cropped, (0.7, 0.5, 0.35, 0.2)),
}
