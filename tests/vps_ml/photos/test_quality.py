"""What is measured in a photo, and what its seller is told."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scenario import detailed

from vps_ml.photos.quality import PhotoQuality, photo_quality, unqualified_reason


def test_a_detailed_photo_has_no_measured_fault() -> None:
    assert unqualified_reason(photo_quality(detailed())) == "too_little_information"


def test_a_blurred_photo_is_measured_as_blurred() -> None:
    assert unqualified_reason(photo_quality(detailed().filter(ImageFilter.GaussianBlur(12)))) == "blurred"


def test_a_dark_photo_is_measured_as_dark() -> None:
    assert unqualified_reason(photo_quality(detailed().point(lambda v: v // 8))) == "dark"


def test_a_washed_out_photo_is_measured_as_overexposed() -> None:
    assert unqualified_reason(photo_quality(detailed().point(lambda v: min(255, v * 3)))) == "overexposed"


def test_exposure_is_named_before_blur() -> None:
    assert unqualified_reason(PhotoQuality(0.0, 0.01, 0.0, 0.0)) == "dark"


def test_a_photo_blurred_by_a_fiftieth_of_its_width_is_measured_as_blurred_and_as_it_is_not() -> None:
    """Real adverts, 4 pixels of 224: 91 in a hundred blurred, none of them as they are."""
    assert unqualified_reason(PhotoQuality(0.17, 0.5, 0.2, 0.0)) == "blurred"
    assert unqualified_reason(PhotoQuality(0.36, 0.5, 0.2, 0.0)) == "too_little_information"


@pytest.mark.parametrize("grey", [90, 128, 180, 220])
def test_a_plain_card_is_not_told_to_be_held_still(grey: int) -> None:
    assert unqualified_reason(photo_quality(Image.new("RGB", (400, 300), (grey,) * 3))) == "too_little_information"


def test_a_page_of_text_a_drawing_and_noise_are_not_told_to_be_taken_in_other_light() -> None:
    page, drawing = Image.new("RGB", (720, 1280), "white"), Image.new("RGB", (500, 500), "white")
    for line in range(20):
        ImageDraw.Draw(page).text((30, 60 + 55 * line), "the quick brown fox jumps over", fill="black", font_size=22)
    ImageDraw.Draw(drawing).ellipse((80, 80, 400, 420), outline="black", width=6)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    assert {unqualified_reason(photo_quality(image)) for image in (page, drawing, noise)} == {"too_little_information"}
