from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scenario import photo

from vps_ml.photos import PhotoQuality, decoded, open_photo, photo_batches, photo_quality, unqualified_reason


def detailed() -> Image.Image:
    pixels = np.random.default_rng(0).integers(40, 215, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((192, 192), Image.Resampling.NEAREST)


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


def test_a_photo_becomes_a_square_of_channels_first(tmp_path: Path) -> None:
    pixels, quality = decoded(photo(tmp_path / "a.png"), 48)
    assert pixels.shape == (3, 48, 48)
    assert 0 < quality.brightness < 1


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to see it upright
    Image.new("RGB", (60, 30)).save(tmp_path / "a.jpg", exif=exif)
    assert open_photo(tmp_path / "a.jpg").size == (30, 60)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\xff\xd8\xff\xe0 not a photo"])
def test_what_is_no_photo_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"\w"):
        open_photo(tmp_path / "a.jpg")


def test_a_truncated_photo_is_refused(tmp_path: Path) -> None:
    detailed().save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-400])
    with pytest.raises(ValueError, match="truncated"):
        open_photo(tmp_path / "b.jpg")


def test_batches_keep_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{i}.png", seed=i) for i in range(7)]
    batches = list(photo_batches([paths[:3], paths[3:6], paths[6:]], 32))
    assert [len(photos) for photos, _ in batches] == [3, 3, 1]
    alone = np.stack([decoded(path, 32)[0] for path in paths])
    assert np.array_equal(np.concatenate([photos for photos, _ in batches]), alone)


def test_no_photos_make_no_batches() -> None:
    assert list(photo_batches([], 32, 3)) == []
