"""How good a photo is, without knowing what it shows: measured from its luminance at a fixed size.

So the measures mean the same for a phone's twelve megapixels and a thumbnail.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

MEASURED_PX = 96
"""Longest side at which quality is measured: the smallest photo that marketplaces accept."""

BLURRED_BELOW = 0.18
DARK_BELOW = 0.20
OVEREXPOSED_ABOVE = 0.30
DRAWN_ABOVE = 2.0
"""Sharpness that text, drawings and noise have, and of 1,200 real adverts' photos 5 in a thousand."""
PLAIN_BELOW = 0.03
"""Contrast that a card or an evenly lit wall has, and of 1,200 real adverts' photos, blurred, not one."""
NOTHING_BELOW = 0.02
"""With less contrast no model is asked (docs/adr/0021): the lowest of 5,630 real adverts' photos is 0.047, of a drawn
white shoe on white 0.027, of a black shirt on black 0.023."""
TOO_LITTLE = "too_little_information"
"""Why there is no price where the photo's light and sharpness are not why."""
ADVICE = {
    "blurred": "Hold the phone still, wait until it has focused, and take the photo again.",
    "dark": "Take the photo again in daylight or under a lamp.",
    "overexposed": "Take the photo again away from direct light, and without the flash.",
    TOO_LITTLE: "Show the whole item alone, from the front, on a plain background.",
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


def shows_nothing(quality: PhotoQuality) -> bool:
    """Whether it is a plain card, text, a drawing or noise, as far as that can be measured: no photo of an item."""
    return quality.sharpness > DRAWN_ABOVE or quality.contrast < PLAIN_BELOW


def unqualified_reason(quality: PhotoQuality) -> str:
    """The reason why a photo is unqualified: what was measured, else `too_little_information`.

    Exposure comes before blur: a black or a white photo has no detail either, and blur would be the wrong advice. What
    is no photo of an item at all is not told to be taken again in other light: a page of text is white, a card smooth.
    A smooth picture with more contrast than that, a wall lit from one side, looks like a blurred one.
    """
    if quality.brightness < DARK_BELOW:
        return "dark"
    if quality.sharpness > DRAWN_ABOVE:
        return TOO_LITTLE
    if quality.overexposed_share > OVEREXPOSED_ABOVE:
        return "overexposed"
    if quality.sharpness < BLURRED_BELOW and not shows_nothing(quality):
        return "blurred"
    return TOO_LITTLE
