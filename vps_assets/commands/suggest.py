"""`vps suggest`: suggestions for what a seller shows and says, from the champion and the newest statistics."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vps_assets.errors import UserError, tell
from vps_assets.home import Home
from vps_assets.serving.categories import published_categories
from vps_assets.serving.offers import NOTHING_SAID, Offer, not_taken
from vps_ml.features.given import inputs_of_rows
from vps_ml.imports import uncollected
from vps_ml.photos.decoding import refuse_shape

if TYPE_CHECKING:
    from vps_assets.serving.snapshot import Suggested

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
AT_ONCE = 16
"""Photos that are decoded and priced together."""


def suggest_one(offer: Offer, home: Home) -> str:
    """The suggestion as JSON, by what there is: the photo, what the seller says, or both.

    Reads the analysts' copy, so it works while runs go on, and never waits for a run.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: the photo cannot be decoded, nothing of the category has sold, there is neither photo nor words.
    """
    refuse_early(offer, home)
    with uncollected():
        from vps_assets.serving.snapshot import Snapshot

        (suggested,) = Snapshot.read(home).suggestions([offer])
    if isinstance(suggested, UserError):
        raise suggested
    warn(suggested, offer, set())
    return json.dumps(suggested.answer)


def suggest_each(offer: Offer, photos: Sequence[Path], home: Home) -> Iterator[tuple[str, bool]]:
    """(a line of JSON, whether it is a suggestion) for each photo, all else that is offered being the same.

    Raises:
        NoChampion: nothing has been promoted.
        UserError: what is said of all photos cannot be.
    """
    published_categories(home).known(offer).row()  # what is wrong of all is said once
    with uncollected():
        from vps_assets.serving.snapshot import Snapshot

        snapshot, told = Snapshot.read(home), set[str]()
    for first in range(0, len(photos), AT_ONCE):
        some = photos[first : first + AT_ONCE]
        answers = snapshot.suggestions([replace(offer, image=photo) for photo in some])
        for photo, suggested in zip(some, answers, strict=True):
            if isinstance(suggested, UserError):
                yield json.dumps({"image": str(photo), "error": str(suggested)}), False
            else:
                warn(suggested, replace(offer, image=photo), told)
                yield json.dumps({"image": str(photo), **suggested.answer}), True


def refuse_early(offer: Offer, home: Home) -> None:
    """Say what is wrong whatever the models find, before they and torch are loaded, which takes seconds.

    Raises:
        NoChampion: nothing has been published.
        UserError: nothing of the category has sold, there is neither photo nor words, or the file is no photo.
    """
    known, image = published_categories(home).known(offer), offer.image
    if image is None and inputs_of_rows(known.row()).item() == "photo":
        raise UserError(NOTHING_SAID)
    if isinstance(image, Path):
        try:
            refuse_shape(image)
        except ValueError as error:
            raise not_taken(image, error) from error


def category_asked(category: str | None, home: Home) -> str:
    """The category that is given.

    Raises:
        UserError: none is; the message has those there are.
    """
    if category is None:
        raise UserError(f"--category is missing: there is {published_categories(home).listed()}")
    return category


def photos_in(paths: Sequence[Path]) -> list[Path]:
    """The photos that are named, and those in the folders that are, in the order of their names.

    Raises:
        UserError: one of them is not there, or a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"there is no photo in {path}: JPEG, PNG or WebP")
        found += inside
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise UserError(f"there is no photo {missing[0]}")
    return found


def warn(suggested: "Suggested", offer: Offer, told: set[str]) -> None:
    """Say on stderr what the price does not know, but for what has been told."""
    for warning in warnings_of(suggested, offer):
        if warning not in told:
            told.add(warning)
            tell(f"warning: {warning}")


def warnings_of(suggested: "Suggested", offer: Offer) -> Iterator[str]:
    """What the price does not know."""
    if not suggested.answer["category_known"]:
        yield f"nothing of the category {offer.category!r} has sold: the price is by what others sold for"
    which = f" {offer.image}" if isinstance(offer.image, Path) else ""
    if offer.image is not None and suggested.answer["inputs"] == "words" and suggested.answer["qualified"]:
        yield f"the price is by words alone, as the photo{which} shows too little: a better one may change it"
    if suggested.answer["looks_like"]:
        what, given = suggested.answer["looks_like"], offer.category
        yield f"the photo{which} looks like the category {what!r}, and was given as {given!r}: is that right?"
    for label in suggested.answer["unknown_labels"]:
        yield f"nothing with {label} has sold"
