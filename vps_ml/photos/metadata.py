"""Photo files reduced to the picture: no places, no times, no names, no thumbnails.

The compressed picture stays as it is, byte for byte; of the metadata only what is needed to show it correctly is kept:
colour profile, transparency, and the orientation.
"""

import io
import re
import struct
from collections.abc import Iterator

from PIL import Image

from vps_ml.photos.decoding import decoding, upright

ORIENTATION = 0x0112
"""EXIF tag 274 (CIPA DC-008, table 4)."""
PNG_KEPT = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP"}
WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"}
JPEG_KEPT = {0xC4, 0xCC, 0xDA, 0xDB, 0xDD, *set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}}
"""Frame and scan headers, tables, restart intervals."""
WEBP_EXIF, WEBP_XMP = 0x08, 0x04
"""Flags of a VP8X chunk."""
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


class NotUnderstood(ValueError):
    """The file is not built as its format requires."""


def without_metadata(data: bytes) -> bytes:
    """The file's picture alone, with its orientation.

    A file whose parts cannot be separated is encoded again, as PNG, so that only its pixels are kept.

    Raises:
        ValueError: it is no photo that can be decoded, or too large; the message has the reason.
    """
    with decoding(io.BytesIO(data)) as image:
        kept = picture_alone(data, str(image.format), exif(image.getexif().get(ORIENTATION)))
        if kept is not None:
            return kept
        written = io.BytesIO()
        upright(image).save(written, "PNG")
        return written.getvalue()


def picture_alone(data: bytes, kind: str, orientation: bytes) -> bytes | None:
    """The file's picture, decoded once to prove it; None if the file is not built as its format requires."""
    try:
        kept = {"JPEG": jpeg, "MPO": jpeg, "PNG": png, "WEBP": webp}[kind](data, orientation)
        with Image.open(io.BytesIO(kept)) as image:
            image.load()
    except (NotUnderstood, OSError, SyntaxError, struct.error, IndexError):
        return None
    return kept


def exif(orientation: object) -> bytes:
    """EXIF data with the orientation alone, as TIFF; empty for an upright picture or an invalid value."""
    if not isinstance(orientation, int) or orientation not in range(2, 9):
        return b""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes().removeprefix(b"Exif\0\0")


def jpeg(data: bytes, orientation: bytes) -> bytes:
    """JFIF, ICC and Adobe segments and the picture's own; nothing after its end (ITU T.81, annex B)."""
    if data[:2] != b"\xff\xd8":
        raise NotUnderstood("no start of image")
    kept = [data[:2]]
    if orientation:
        body = b"Exif\0\0" + orientation
        kept.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    at = 2
    while True:
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, 0xD8):
            raise NotUnderstood("no marker where one is required")
        if marker == 0xD9:
            return b"".join([*kept, data[at : at + 2]])
        (length,) = struct.unpack_from(">H", data, at + 2)
        kept.append(needed_part(marker, data[at : at + 2 + length]))
        at += 2 + length
        if marker == 0xDA:
            found = NEXT_MARKER.search(data, at)
            if found is None:
                raise NotUnderstood("no end of image")
            kept.append(data[at : found.start()])
            at = found.start()


def needed_part(marker: int, segment: bytes) -> bytes:
    """The part of a JPEG segment that the picture needs; of JFIF the header without its thumbnail."""
    body = segment[4:]
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return segment[:2] + struct.pack(">H", 16) + body[:12] + b"\0\0"
    profile = marker == 0xE2 and body.startswith(b"ICC_PROFILE\0")
    adobe = marker == 0xEE and body.startswith(b"Adobe")
    return segment if marker in JPEG_KEPT or profile or adobe else b""


def png(data: bytes, orientation: bytes) -> bytes:
    """The chunks of `PNG_KEPT`; an animation's first frame (W3C PNG, third edition)."""
    kept = [data[:8]]
    for kind, _, whole in chunks(data[8:], ">I4s", 4):
        if kind == b"IDAT" and orientation:
            kept.append(png_chunk(b"eXIf", orientation))
            orientation = b""
        if kind in PNG_KEPT:
            kept.append(whole)
        if kind == b"IEND":
            return b"".join(kept)
    raise NotUnderstood("no end of image")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    from zlib import crc32

    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))


def webp(data: bytes, orientation: bytes) -> bytes:
    """The chunks of `WEBP_KEPT`, and flags to match (RFC 9649)."""
    (size,) = struct.unpack_from("<I", data, 4)
    kept, extended = [], False
    for kind, body, whole in chunks(data[12 : 8 + size], "<4sI", 0):
        if kind == b"ANMF":
            raise NotUnderstood("an animation, whose frames have chunks of their own")
        if kind == b"VP8X":
            extended = True
            flags = body[0] & ~(WEBP_EXIF | WEBP_XMP) | (WEBP_EXIF if orientation else 0)
            kept.append(whole[:8] + bytes([flags]) + body[1:])
        elif kind in WEBP_KEPT:
            kept.append(whole)
    if orientation:
        if not extended:
            raise NotUnderstood("an orientation without a place for it")
        kept.append(b"EXIF" + struct.pack("<I", len(orientation)) + orientation + b"\0" * (len(orientation) % 2))
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunks(data: bytes, header: str, trailer: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, body, the whole chunk) of a PNG (CRC behind) or a RIFF file (padded to even)."""
    at = 0
    while at < len(data):
        first, second = struct.unpack_from(header, data, at)
        kind, length = (second, first) if isinstance(first, int) else (first, second)
        end = at + 8 + length + (trailer or length % 2)
        if at + 8 + length > len(data):
            raise NotUnderstood("a chunk longer than the file")
        yield kind, data[at + 8 : at + 8 + length], data[at:end]
        at = end
