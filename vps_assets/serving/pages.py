"""The seller's page: a form, and the answer beside it; without JavaScript on a page of its own."""

from collections.abc import Mapping
from functools import cache
from math import log
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, StrictUndefined
from starlette.responses import HTMLResponse, JSONResponse

from vps_assets.serving.form import FIELDS
from vps_assets.serving.offers import Offer
from vps_assets.serving.problems import TITLES, Refused
from vps_assets.serving.service import Suggestion, service_of, suggestion_for

FOLDER = Path(__file__).with_name("page")
KINDS = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
EMPTY = {"state": "empty"}
REASONS = {
    "blurred": "The photo is blurred",
    "dark": "The photo is too dark",
    "overexposed": "The photo is too bright",
    "too_little_information": "There is too little to go by",
}
AROUND = 1.35
"""How far the scale goes beyond the range, as a factor."""
router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """The form."""
    return rendered(request, EMPTY)


@router.post("/")
async def answered_page(request: Request) -> Response:
    """The answer to a form that was sent without JavaScript."""
    try:
        return rendered(request, view_of(*await suggestion_for(request)))
    except Refused as error:
        state = "busy" if error.status in (429, 503) else "refused"
        view = {"state": state, "headline": TITLES[error.status], "sentence": error.detail, "bar": None}
        return rendered(request, view, error.status, error.headers)


@router.post("/page/answer")
async def answer(request: Request) -> Response:
    """The answer as the page shows it."""
    return JSONResponse(view_of(*await suggestion_for(request)))


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """The page's style, script and picture."""
    if name not in KINDS:
        raise Refused(404, f"The page has no {name[:40]!r}.")
    return Response((FOLDER / name).read_bytes(), media_type=KINDS[name])


@router.get("/favicon.ico")
async def icon() -> Response:
    """What browsers ask for by themselves."""
    return await part("icon.svg")


@cache
def template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string((FOLDER / "page.html").read_text())


def rendered(
    request: Request, view: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The page; with its categories, once models are loaded."""
    snapshot = service_of(request).renewal.snapshot
    content = template().render(
        view=view,
        given=dict.fromkeys(FIELDS, "") | getattr(request.state, "given", {}),
        categories=[] if snapshot is None else snapshot.categories,
        conditions=[] if snapshot is None else snapshot.conditions,
        data_until="" if snapshot is None or snapshot.data_until is None else snapshot.data_until.isoformat(),
    )
    return HTMLResponse(content, status, {**(headers or {}), "content-security-policy": CONTENT_SECURITY_POLICY})


BY_WORDS = "By your words alone, as the photo shows too little: a better one may change it. "


def view_of(offer: Offer, suggestion: Suggestion) -> dict[str, Any]:
    """What a seller reads: one price with its range, or one sentence on what to do."""
    price, low, high = suggestion.suggested_price, suggestion.low, suggestion.high
    if price is None or low is None or high is None:
        headline = REASONS.get(suggestion.reason or "", REASONS["too_little_information"])
        return {"state": "unqualified", "headline": headline, "sentence": suggestion.advice, "bar": None}

    def place(value: float) -> float:
        return round(100 * log(value / (low / AROUND)) / log(high * AROUND / (low / AROUND)), 2)

    currency = suggestion.currency or ""
    by = BY_WORDS if suggestion.inputs == "words" and offer.image is not None else ""
    return {
        "state": "priced",
        "headline": f"{price:,.2f} {currency}".strip(),
        "sentence": f"{by}Most such items sell for {low:,.2f} to {high:,.2f} {currency}".strip() + ".",
        "bar": {"low": place(low), "width": round(place(high) - place(low), 2), "price": place(price)},
    }
