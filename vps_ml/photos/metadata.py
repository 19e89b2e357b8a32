"""Photo files reduced to the picture: no places, no times, no names, no thumbnails, no text.

The compressed picture stays as it is, byte for byte; beside it only the orientation and the transparency are kept.
Colour profiles go too: they have room for text, and nothing here reads them. What cannot be told from the picture
without compressing it again may stay: bytes inside a JPEG's scans or a WebP's frame that a decoder passes over, and
colours of a palette that no pixel has.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from vps_ml.photos.decoding import FORMATS, ORIENTATION, decoding, upright

JPEG_KEPT = {0xC4, 0xCC, 0xDA, 0xDB, 0xDD, *set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}}
"""Frame and scan headers, tables, restart intervals: no decoder accepts one that is longer than what it holds."""
WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
WEBP_EXIF, WEBP_ALPHA = 0x08, 0x10
"""Flags of a VP8X chunk."""
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
PIECE = 1 << 16
"""Bytes that are decompressed at a time."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of an interlaced picture's passes."""


class NotUnderstood(ValueError):
    """The file is not built as its format requires."""


BROKEN = (NotUnderstood, OSError, SyntaxError, struct.error, IndexError, zlib.error)


def without_metadata(data: bytes) -> bytes:
    """The file's picture alone, with its orientation.

    A file whose parts cannot be separated is encoded again, as PNG, so that only its pixels are kept.

    Raises:
        ValueError: it is no photo that can be decoded, or too large; the message has the reason.
    """
    with decoding(io.BytesIO(data)) as image:
        kept = picture_alone(data, image)
        if kept is not None:
            return kept
        written = io.BytesIO()
        upright(image).save(written, "PNG")
        return written.getvalue()


def stripped(data: bytes) -> bytes | None:
    """What `without_metadata` keeps of a photo that it accepted before, without decoding it; None if it encoded it."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return parts_alone(data, image)
    except BROKEN:
        return None


def picture_alone(data: bytes, image: Image.Image) -> bytes | None:
    """The file's picture, decoded once to prove it; None if the file is not built as its format requires."""
    try:
        kept = parts_alone(data, image)
        with Image.open(io.BytesIO(kept), formats=FORMATS) as again:
            again.load()
    except BROKEN:
        return None
    return kept


def parts_alone(data: bytes, image: Image.Image) -> bytes:
    """The file's parts that are kept.

    Raises:
        NotUnderstood, or another of `BROKEN`: the file is not built as its format requires.
    """
    orientation = exif(image.getexif().get(ORIENTATION))
    return {"JPEG": jpeg, "MPO": jpeg, "PNG": png, "WEBP": webp}[str(image.format)](data, orientation)


def exif(orientation: object) -> bytes:
    """EXIF data with the orientation alone, as TIFF; empty for an upright picture or an invalid value."""
    if not isinstance(orientation, int) or orientation not in range(2, 9):
        return b""
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data.tobytes().removeprefix(b"Exif\0\0")


def jpeg(data: bytes, orientation: bytes) -> bytes:
    """JFIF and Adobe headers and the picture's own segments; nothing after its end (ITU T.81, annex B)."""
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
    """The part of a JPEG segment that the picture needs; of JFIF and Adobe the headers alone."""
    body = segment[4:]
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return segment[:2] + struct.pack(">H", 16) + body[:12] + b"\0\0"
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:  # how colours are coded
        return segment[:2] + struct.pack(">H", 14) + body[:12]
    return segment if marker in JPEG_KEPT else b""


def png(data: bytes, orientation: bytes) -> bytes:
    """Header, palette, transparency and pixels; of an animation the first frame (W3C PNG, third edition)."""
    parts: dict[bytes, bytes] = {}
    compressed = []
    for kind, body, _ in chunks(data[8:], ">I4s", 4):
        if kind == b"IDAT":
            compressed.append(body)
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            parts.setdefault(kind, body)
        elif kind == b"IEND":
            break
    else:
        raise NotUnderstood("no end of image")
    header = parts[b"IHDR"] if len(parts.get(b"IHDR", b"")) == 13 else b""
    if not header:
        raise NotUnderstood("no header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    palette = parts.get(b"PLTE", b"")[: 3 << depth] if colour == 3 else b""
    transparency = parts.get(b"tRNS", b"")[: {0: 2, 2: 6, 3: len(palette) // 3}.get(colour, 0)]
    pixels = stream_alone(
        b"".join(compressed), png_bytes(width, height, depth * PNG_CHANNELS.get(colour, 0), interlaced)
    )
    kept = [(b"IHDR", header), (b"PLTE", palette), (b"tRNS", transparency), (b"eXIf", orientation), (b"IDAT", pixels)]
    return data[:8] + b"".join(png_chunk(kind, body) for kind, body in kept if body) + png_chunk(b"IEND", b"")


def png_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of a picture's rows before compression, each with the byte that names its filter."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-((x - width) // across), -((y - height) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def stream_alone(data: bytes, expected: int) -> bytes:
    """A zlib stream without what follows it; it is read through, and nothing of it is held."""
    stream, length, at = zlib.decompressobj(), 0, 0
    while at < len(data) and not stream.eof:
        piece = data[at : at + PIECE]
        at += len(piece)
        while piece and not stream.eof:
            length += len(stream.decompress(piece, PIECE))
            piece = stream.unconsumed_tail
            if length > expected:
                raise NotUnderstood("more data than pixels")
    length += len(stream.flush())
    if not stream.eof or length != expected:
        raise NotUnderstood("more or less data than pixels")
    return data[: at - len(stream.unused_data)]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp(data: bytes, orientation: bytes) -> bytes:
    """The first chunk of each kind in `WEBP_KEPT`, and flags to match (RFC 9649)."""
    (size,) = struct.unpack_from("<I", data, 4)
    parts: dict[bytes, bytes] = {}
    for kind, body, _ in chunks(data[12 : 8 + size], "<4sI", 0):
        if kind == b"ANMF":
            raise NotUnderstood("an animation, whose frames have chunks of their own")
        if kind in WEBP_KEPT:
            parts.setdefault(kind, body)
    if (extended := parts.get(b"VP8X")) is not None:
        flags = extended[0] & WEBP_ALPHA | (WEBP_EXIF if orientation else 0)
        parts[b"VP8X"] = bytes([flags, 0, 0, 0]) + extended[4:10]
    elif orientation:
        raise NotUnderstood("an orientation without a place for it")
    if orientation:
        parts[b"EXIF"] = orientation
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for kind, part in parts.items()
    )
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
