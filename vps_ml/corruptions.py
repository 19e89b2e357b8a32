"""Photos made worse on purpose, at four severities, after ImageNet-C (Hendrycks and Dietterich, 2019)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageEnhance, ImageFilter


def blurred(photo: Image.Image, radius: float) -> Image.Image:
    """Gaussian blur; radius as a share of the longest side."""
    return photo.filter(ImageFilter.GaussianBlur(radius * max(photo.size)))


def darkened(photo: Image.Image, brightness: float) -> Image.Image:
    """Every pixel's light times `brightness`."""
    return ImageEnhance.Brightness(photo).enhance(brightness)


def cropped(photo: Image.Image, side: float) -> Image.Image:
    """The middle of the photo, `side` of its width and height, as if taken from too near."""
    width, height = (max(1, round(side * length)) for length in photo.size)
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height))


@dataclass(frozen=True)
class Corruption:
    """A way to spoil a photo, and how strong each severity is; severity 0 is the photo as it is."""

    apply: Callable[[Image.Image, float], Image.Image]
    unit: str
    strengths: tuple[float, ...]


CORRUPTIONS: Mapping[str, Corruption] = {
    "blur": Corruption(blurred, "blur radius over the longest side", (0.01, 0.02, 0.04, 0.08)),
    "darken": Corruption(darkened, "light kept", (0.5, 0.25, 0.12, 0.05)),
    "crop": Corruption(cropped, "side kept", (0.7, 0.5, 0.35, 0.2)),
}
