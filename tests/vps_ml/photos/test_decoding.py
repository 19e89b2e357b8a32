import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scenario import detailed, photo

from vps_ml.photos.decoding import decoded, open_photo


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


def test_a_photo_of_over_a_hundred_megapixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A few hundred bytes that would unpack to gigabytes."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(ValueError, match="40000 x 40000 pixels are more than 100,000,000"):
        open_photo(tmp_path / "bomb.png")


def test_sixteen_bits_of_grey_become_eight_and_not_white(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    shown = np.asarray(open_photo(tmp_path / "deep.png"))[..., 0].ravel()
    assert np.abs(shown - np.linspace(0, 255, 64)).max() <= 1


def test_four_inks_become_three_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "inks.jpg", quality=95)
    red, green, blue = open_photo(tmp_path / "inks.jpg").getpixel((4, 4))
    assert red > 240
    assert max(green, blue) < 15


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert open_photo(tmp_path / "moving.webp").getpixel((4, 4)) == (255, 0, 0)


def test_a_decoder_that_trips_over_a_file_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(*arguments: object) -> None:
        raise struct.error("unpack requires a buffer of 4 bytes")

    Image.new("RGB", (8, 8)).save(tmp_path / "odd.png")
    monkeypatch.setattr(Image.Image, "load", trip)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", trip)
    with pytest.raises(ValueError, match="buffer of 4 bytes"):
        open_photo(tmp_path / "odd.png")


PEAK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from vps_ml.allocator import keep_freed_memory
from vps_ml.photos.decoding import BUDGET, decoded
from vps_ml.photos.metadata import without_metadata

keep_freed_memory()
BUDGET.pixels = 36_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = Path(sys.argv[1]).read_bytes()
with ThreadPoolExecutor(3) as pool:
    list(pool.map(lambda _: len(without_metadata(data)), range(3)))
    list(pool.map(lambda _: decoded(Path(sys.argv[1]), 224)[0].shape, range(3)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_large_photos_are_decoded_in_bounded_memory_however_many_threads_there_are(tmp_path: Path) -> None:
    """36 megapixels with transparency: 144 MB as pixels, of which three threads once held six times as much each."""
    Image.new("LA", (6_000, 6_000), (200, 100)).save(tmp_path / "a.png")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "a.png")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 500


def test_a_large_photo_is_reduced_and_looks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8))
    small.resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    small.resize((400, 300), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    for name in ("a.png", "a.jpg"):
        whole = open_photo(tmp_path / name)
        with monkeypatch.context() as patched:
            patched.setattr("vps_ml.photos.decoding.LARGE_PIXELS", 40_000)
            reduced = open_photo(tmp_path / name)
        assert whole.size == (400, 300)
        assert reduced.size == (200, 150)
        difference = np.asarray(whole.reduce(2), dtype=float) - np.asarray(reduced, dtype=float)
        assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_and_orientations_give_the_pixels_that_pillow_gives(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(orientation).integers(0, 255, (700, 40, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        upright = ImageOps.exif_transpose(image)
        expected = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")
    assert np.array_equal(np.asarray(open_photo(tmp_path / "a.png")), np.asarray(expected))


def many_parts(kind: str, count: int) -> bytes:
    """A small photo with so many empty comments before its pixels."""
    file = BytesIO()
    detailed().resize((64, 64)).save(file, kind)
    content = file.getvalue()
    if kind == "JPEG":
        return content[:2] + b"\xff\xfe\x00\x02" * count + content[2:]
    chunk = struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    return content[:33] + chunk * count + content[33:]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_of_a_million_parts_is_refused_before_each_is_looked_at(tmp_path: Path, kind: str) -> None:
    assert open_photo(BytesIO(many_parts(kind, 50 if kind == "JPEG" else 0))).size == (64, 64)
    with pytest.raises(ValueError, match="over 20,000 parts"):
        open_photo(BytesIO(many_parts(kind, 1_000_000)))
    (tmp_path / "photo").write_bytes(many_parts(kind, 30_000))
    with pytest.raises(ValueError, match="over 20,000 parts"):
        open_photo(tmp_path / "photo")
