"""The photos of a landing: each decoded whole, and stored without its metadata by the hash of its bytes."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from vps_assets.home import Home
from vps_assets.landing.files import DISK_FAULTS
from vps_ml.atomic import temporary_name
from vps_ml.photos.decoding import refuse_shape
from vps_ml.photos.metadata import stripped, without_metadata

Progress = Callable[[str], None]
PHOTOS_PER_REPORT = 500
MOST_PHOTO_BYTES = 64 << 20
NO_PHOTO = "photo is missing"


@dataclass(frozen=True)
class CheckedPhoto:
    """A good photo's hash, or the reason why it is not good."""

    photo_hash: str | None
    reason: str | None


def check_photos(paths: Sequence[str | None], images: Path, home: Home, progress: Progress) -> list[CheckedPhoto]:
    """Decode every photo whole, once however many rows name it; store the good ones by content hash.

    They are written through with the landing that names them, all at once (`land`).
    """
    folder = images.resolve()
    once = list(dict.fromkeys(paths))
    checked: dict[str | None, CheckedPhoto] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, photo in zip(once, pool.map(lambda path: check_photo(path, folder, home), once), strict=True):
            checked[path] = photo
            if len(checked) % PHOTOS_PER_REPORT == 0:
                progress(f"{len(checked):,} of the next {len(once):,} photos verified")
    return [checked[path] for path in paths]


def check_photo(image_path: str | None, folder: Path, home: Home) -> CheckedPhoto:
    """Decode one photo and store it, without its metadata, under the hash of its bytes; or give the reason why not.

    Raises:
        OSError: the data directory cannot be written, which is no fault of the row.
    """
    if not image_path:
        return CheckedPhoto(None, "image_path is missing")
    try:
        path = (folder / image_path).resolve()
        if not path.is_relative_to(folder):
            return CheckedPhoto(None, "image_path leaves the image folder")
        if not path.is_file():
            return CheckedPhoto(None, NO_PHOTO)
        if path.stat().st_size > MOST_PHOTO_BYTES:
            return CheckedPhoto(None, f"photo is larger than {MOST_PHOTO_BYTES >> 20} MiB")
        data = path.read_bytes()
        photo_hash = hashlib.sha256(data).hexdigest()
        if not is_stored(photo_hash, data, home):
            refuse_shape(BytesIO(data))
            store(photo_hash, without_metadata(data), home)
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        return CheckedPhoto(None, f"photo cannot be read: {error.strerror or error}")
    except RuntimeError as error:  # links in a circle
        return CheckedPhoto(None, f"photo cannot be read: {str(error).splitlines()[0].replace(str(folder), '')[:120]}")
    except ValueError as error:
        reason = str(error).replace(str(folder), "").splitlines()[0][:120]
        return CheckedPhoto(None, f"photo cannot be decoded: {reason}")
    return CheckedPhoto(photo_hash, None)


def is_stored(photo_hash: str, data: bytes, home: Home) -> bool:
    """Whether the photo is in the store as it would be written now: not empty, not cut, without metadata."""
    key = home.artefacts.photo_key(photo_hash)
    try:
        stored = (home.path / key).read_bytes()
    except FileNotFoundError:
        return False
    bucket = home.artefacts.bucket
    return stored == stripped(data) and (bucket is None or bucket.has(key))


def store(photo_hash: str, kept: bytes, home: Home) -> None:
    """Write a photo, whole or not at all; not through to the disk yet."""
    key = home.artefacts.photo_key(photo_hash)
    stored = home.path / key
    stored.parent.mkdir(parents=True, exist_ok=True)
    temporary = home.photos / temporary_name(photo_hash)
    try:
        temporary.write_bytes(kept)
        if (bucket := home.artefacts.bucket) is not None:
            bucket.create(key, kept)
        temporary.replace(stored)
    finally:
        temporary.unlink(missing_ok=True)
