"""What a client sends: a form with a photo and words, checked field by field."""

import asyncio
import re
from datetime import UTC, date, datetime
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import ClientDisconnect, Request

from vps_assets.serving.gate import MOST_BODY_BYTES
from vps_assets.serving.offers import Offer
from vps_assets.serving.problems import Refused

ARRIVES_WITHIN_S = 30.0
MOST_FIELD_BYTES = 4 * 20_000
"""The longest text that may land, in UTF-8."""
TEXTS = ("category", "seller", "title", "description", "brand", "condition")
LISTS = ("attributes", "specifications")
FIELDS = (*TEXTS, *LISTS, "listed_on", "asking_price", "any_category")
PHOTO = "photo"
MultiPartParser.spool_max_size = MOST_BODY_BYTES
"""Photos stay in memory: Starlette writes what is larger than this to a file."""
MONEY = re.compile(r"(?![0-9]{1,3}[.][0-9]{3}\Z)[0-9]{1,15}([.][0-9]{1,9}|[,][0-9]{1,2})?")
"""A decimal comma is one; before three digits a comma, or a point, could mean thousands, and is refused."""
TEXT_FIELD = {"type": "string"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["category"],
                    "additionalProperties": False,
                    "properties": {
                        PHOTO: {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."},
                        **dict.fromkeys(TEXTS, TEXT_FIELD),
                        "category": {**TEXT_FIELD, "minLength": 1},
                        **{name: {**TEXT_FIELD, "description": "Labels, separated by |."} for name in LISTS},
                        "any_category": {
                            **TEXT_FIELD,
                            "enum": ["yes"],
                            "description": "Price it also where nothing of the category has sold.",
                        },
                        "listed_on": {**TEXT_FIELD, "format": "date", "description": "By default today, UTC."},
                        "asking_price": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "description": "Money: 42.50, or 42,50.",
                        },
                    },
                }
            }
        },
    }
}


async def offer_in(request: Request) -> Offer:
    """The offer in a request's form.

    Raises:
        Refused: it is none.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, "Send a form, multipart/form-data.")
    given: dict[str, str] = {}
    request.state.given = given  # the page shows it again
    try:
        photo = await photo_in(request, given)
    except TimeoutError:
        raise Refused(400, f"The request has not arrived within {ARRIVES_WITHIN_S:.0f} s.") from None
    except ClientDisconnect:
        raise Refused(400, "The client has gone.") from None
    except HTTPException as error:
        raise Refused(error.status_code, f"The form cannot be read: {str(error.detail).rstrip('.')}.") from None
    except (UnicodeError, LookupError):
        raise Refused(400, "The form is not UTF-8.") from None
    if not arrived_whole(request):
        raise Refused(400, "The form has not arrived whole: its last line is missing.")
    if not given.get("category"):
        raise Refused(422, "Say which category it is.")
    said: dict[str, Any] = {name: given[name] for name in TEXTS if given.get(name)}
    said |= {name: tuple(filter(None, given[name].split("|"))) for name in LISTS if name in given}
    said["asking_price"] = money(given.get("asking_price"))
    if given.get("any_category") not in (None, "", "yes"):
        raise Refused(422, "any_category is yes, or not given.")
    said["any_category"] = given.get("any_category") == "yes"
    return Offer(**said, image=photo, listed_on=day(given.get("listed_on")))


async def photo_in(request: Request, given: dict[str, str]) -> bytes | None:
    """The form's photo, if it has one; its other fields are put into `given`.

    Raises:
        Refused: a field is none, is given twice, or is of the wrong kind.
    """
    photo = None
    async with (
        asyncio.timeout(ARRIVES_WITHIN_S),
        request.form(max_files=1, max_fields=len(FIELDS) + 1, max_part_size=MOST_FIELD_BYTES) as form,
    ):
        for name, value in form.multi_items():
            if name in given or (name == PHOTO and photo is not None):
                raise Refused(422, f"{shown(name)} is given twice.")
            if name == PHOTO and isinstance(value, UploadFile):
                photo = await value.read() or None
            elif name == PHOTO:
                raise Refused(422, "The photo has to be a file; with curl: -F photo=@FILE.")
            elif name in FIELDS and isinstance(value, str):
                given[name] = value.strip()
            else:
                raise Refused(422, f"{shown(name)} is not one of photo (a file), {', '.join(FIELDS)}.")
    return photo


def arrived_whole(request: Request) -> bool:
    """Whether the form's closing line has come: without it the last field would be dropped or cut silently."""
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    tail: bytearray = request.state.tail
    return b"--" + boundary + b"--" in tail


def shown(name: str) -> str:
    """A field's name as an answer may repeat it."""
    return repr(name[:40])


def money(text: str | None) -> float | None:
    """The price that a form names.

    Raises:
        Refused: it is none.
    """
    if not text:
        return None
    if MONEY.fullmatch(text) is None:
        raise Refused(
            422, "What you would ask (asking_price) is a number like 42.50 or 1200, without marks between thousands."
        )
    return float(text.replace(",", "."))


def day(text: str | None) -> date | None:
    """The day that a form names.

    Raises:
        Refused: it is none, or has not come.
    """
    if not text:
        return None
    try:
        named = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 (a day has no time)
    except ValueError:
        raise Refused(422, "listed_on is a day like 2024-05-31.") from None
    if named > datetime.now(UTC).date():
        raise Refused(422, "listed_on has not come yet.")
    return named
