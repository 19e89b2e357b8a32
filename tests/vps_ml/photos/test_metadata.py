"""Photo files reduced to the picture; Pillow is the oracle of what they show."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from vps_ml.photos.metadata import ADAM7, NotUnderstood, exif, jpeg, png, png_bytes, png_chunk, webp, without_metadata

PLACE = b"52.5200N 13.4050E at home"
GPS, DESCRIPTION, ORIENTATION = 0x8825, 0x010E, 0x0112


def picture(mode: str = "RGB", size: tuple[int, int] = (24, 16), seed: int = 0) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], bands), dtype=np.uint8)
    return Image.frombytes(mode, size, pixels.tobytes())


def written(image: Image.Image, kind: str, orientation: int = 1, **options: object) -> bytes:
    """The image as a file with a place in every kind of metadata that its format has."""
    exif = Image.Exif()
    exif[DESCRIPTION] = PLACE.decode()
    exif[ORIENTATION] = orientation
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Location", PLACE.decode())
        text.add_itxt("XML:com.adobe.xmp", PLACE.decode())
        options = {"pnginfo": text, **options}
    elif kind == "JPEG":
        options = {"comment": PLACE, "xmp": PLACE, **options}
    else:
        options = {"xmp": PLACE, "lossless": True, **options}
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


def shown(data: bytes) -> np.ndarray:
    """The pixels as they are shown."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))


def assert_picture_alone(data: bytes, orientation: int) -> None:
    assert PLACE not in data
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        assert dict(exif) == ({} if orientation == 1 else {ORIENTATION: orientation})
        assert not exif.get_ifd(GPS)
        assert not set(image.info) & {"comment", "xmp", "Location", "XML:com.adobe.xmp", "parsed_exif", "photoshop"}


@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["RGB", "L", "RGBA", "CMYK"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    progressive=st.booleans(),
)
def test_the_picture_stays_upright_and_pixel_for_pixel_and_nothing_else_stays(
    kind: str, orientation: int, mode: str, size: tuple[int, int], progressive: bool
) -> None:
    if (kind == "JPEG" and mode == "RGBA") or (kind != "JPEG" and mode == "CMYK"):
        mode = "RGB"
    options = {"progressive": progressive} if kind == "JPEG" else {}
    data = written(picture(mode, size), kind, orientation, **options)
    assert PLACE in data
    kept = without_metadata(data)
    assert_picture_alone(kept, orientation)
    assert np.array_equal(shown(kept), shown(data))
    assert without_metadata(kept) == kept


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_compressed_picture_is_not_touched(kind: str) -> None:
    """Half the file or more is in the stripped one, byte for byte: nothing was encoded again."""
    data = written(picture(size=(64, 64)), kind)
    kept = without_metadata(data)
    middle = kept[len(kept) // 3 : 2 * len(kept) // 3]
    assert middle in data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_colour_profile_which_has_room_for_text_is_cut(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + PLACE
    data = written(picture(), kind, icc_profile=profile)
    kept = without_metadata(data)
    with Image.open(io.BytesIO(kept)) as image:
        assert "icc_profile" not in image.info
    assert np.array_equal(shown(kept), shown(data))


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with these chunks behind its header."""
    return data[:33] + b"".join(png_chunk(kind, body) for kind, body in chunks) + data[33:]


def png_with_tail(data: bytes, hide: Callable[[bytes], bytes]) -> bytes:
    """A PNG whose one IDAT chunk has been replaced."""
    (at,) = [i for i in range(len(data)) if data[i : i + 4] == b"IDAT"]
    (length,) = struct.unpack(">I", data[at - 4 : at])
    return data[: at - 4] + png_chunk(b"IDAT", hide(data[at + 4 : at + 4 + length])) + png_chunk(b"IEND", b"")


def hiding_places() -> dict[str, bytes]:
    """Files with a place where Pillow shows none."""
    plain, jpg = io.BytesIO(), io.BytesIO()
    picture().save(plain, "PNG")
    picture().save(jpg, "JPEG")
    png_file, jpeg_file = plain.getvalue(), jpg.getvalue()
    adobe = b"\xff\xee" + struct.pack(">H", 14 + len(PLACE)) + b"Adobe\0d\0\0\0\0\1" + PLACE
    return {
        "chromaticities": with_chunks(png_file, (b"cHRM", (PLACE * 2)[:32])),
        "a palette of a picture without one": with_chunks(png_file, (b"PLTE", (PLACE * 3)[:75])),
        "behind the compressed pixels": png_with_tail(png_file, lambda idat: idat + PLACE),
        "among the compressed pixels": png_with_tail(
            png_file, lambda idat: zlib.compress(zlib.decompress(idat) + PLACE, 0)
        ),
        "in IEND": png_file[:-12] + png_chunk(b"IEND", PLACE),
        "an Adobe header's tail": jpeg_file[:2] + adobe + jpeg_file[2:],
    }


@pytest.mark.parametrize("where", hiding_places())
def test_text_where_a_decoder_passes_over_it_is_cut(where: str) -> None:
    data = hiding_places()[where]
    assert PLACE in data
    kept = without_metadata(data)
    assert PLACE not in kept
    with Image.open(io.BytesIO(data)) as hidden, Image.open(io.BytesIO(kept)) as alone:
        if "Adobe" not in where:  # which says how colours are coded
            assert np.array_equal(np.asarray(hidden.convert("RGB")), np.asarray(alone.convert("RGB")))


@given(
    mode=st.sampled_from(["1", "L", "LA", "RGB", "RGBA"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    interlaced=st.booleans(),
)
def test_the_bytes_of_a_picture_are_counted_as_png_counts_them(
    mode: str, size: tuple[int, int], interlaced: bool
) -> None:
    """Counted by the header; Pillow writes no interlaced pictures, so those are held to a pixel-by-pixel count."""
    bits = {"1": 1, "L": 8, "LA": 16, "RGB": 24, "RGBA": 32}[mode]
    if interlaced:
        of_pass = [[(x, y) for y in range(y0, size[1], dy) for x in range(x0, size[0], dx)] for x0, y0, dx, dy in ADAM7]
        rows = [len({y for _, y in pixels}) for pixels in of_pass]
        columns = [len({x for x, _ in pixels}) for pixels in of_pass]
        expected = sum(r * (1 + (c * bits + 7) // 8) for r, c in zip(rows, columns, strict=True) if r and c)
    else:
        file = io.BytesIO()
        Image.new(mode, size).save(file, "PNG")
        data = file.getvalue()
        (at,) = [i for i in range(len(data)) if data[i : i + 4] == b"IDAT"]
        (length,) = struct.unpack(">I", data[at - 4 : at])
        expected = len(zlib.decompress(data[at + 4 : at + 4 + length]))
    assert png_bytes(*size, bits, interlaced) == expected


def test_what_a_phone_appends_behind_the_photo_is_cut_off() -> None:
    data = written(picture(), "JPEG") + b"MotionPhoto" + PLACE + written(picture(seed=1), "JPEG")
    kept = without_metadata(data)
    assert_picture_alone(kept, 1)
    assert kept.endswith(b"\xff\xd9")


def test_a_photo_with_a_second_picture_keeps_the_first() -> None:
    file = io.BytesIO()
    picture().save(file, "MPO", save_all=True, append_images=[picture(seed=1)])
    kept = without_metadata(file.getvalue())
    with Image.open(io.BytesIO(kept)) as image:
        assert image.format == "JPEG"
    assert np.array_equal(shown(kept), shown(file.getvalue()))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_keeps_its_first_frame_alone(kind: str) -> None:
    file = io.BytesIO()
    picture().save(file, kind, save_all=True, append_images=[picture(seed=1)], lossless=True)
    kept = without_metadata(file.getvalue())
    with Image.open(io.BytesIO(kept)) as image:
        assert getattr(image, "n_frames", 1) == 1
    assert np.array_equal(shown(kept), shown(file.getvalue()))


def test_a_thumbnail_in_the_header_and_a_segment_nobody_needs_are_cut_off() -> None:
    data = written(picture(), "JPEG")
    assert data[2:4] == b"\xff\xe0"
    body = data[6:18] + b"\x02\x02" + PLACE[:12] + PLACE
    header = b"\xff\xe0" + struct.pack(">H", len(body) + 2) + body
    lines = b"\xff\xdc" + struct.pack(">H", len(PLACE) + 2) + PLACE
    kept = jpeg(data[:2] + header + lines + data[20:], b"")
    assert PLACE not in kept
    assert PLACE[:12] not in kept
    assert np.array_equal(shown(kept), shown(data))


def test_an_orientation_that_makes_no_sense_is_none() -> None:
    assert exif("abc") == exif(9) == exif(0) == exif(None) == b""


def test_a_file_whose_parts_cannot_be_separated_is_encoded_again() -> None:
    """Stray bytes between two segments: Pillow passes over them, and nothing of the text may stay."""
    whole = written(picture(), "JPEG")
    at = whole.index(b"\xff\xdb")
    data = whole[:at] + b"\0\0" + whole[at:]
    with pytest.raises(NotUnderstood):
        jpeg(data, b"")
    kept = without_metadata(data)
    assert PLACE not in kept
    assert np.array_equal(shown(kept), shown(data))


@given(st.binary(max_size=400), st.sampled_from([jpeg, png, webp]), st.integers(0, 60))
def test_no_bytes_send_a_parser_into_a_loop_or_a_strange_error(noise: bytes, parse: object, keep: int) -> None:
    heads = {jpeg: written(picture(), "JPEG"), png: written(picture(), "PNG"), webp: written(picture(), "WEBP")}
    with suppress(NotUnderstood, struct.error, IndexError):
        parse(heads[parse][:keep] + noise, b"")  # type: ignore[operator]
