"""The seller's page: a form, and the answer beside it; without JavaScript on a page of its own."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, StrictUndefined
from starlette.responses import HTMLResponse, JSONResponse

from vps_assets import report
from vps_assets.serving.form import FIELDS
from vps_assets.serving.problems import TITLES, Refused
from vps_assets.serving.service import service_of, suggestion_for
from vps_assets.serving.view import view_of

FOLDER = Path(__file__).with_name("page")
STYLE = Path(report.__file__).with_name("style.css")
"""The report's, too."""
KINDS = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
EMPTY = {"state": "empty"}
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
        view = {"state": state, "headline": TITLES[error.status], "sentence": error.detail}
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
    file = STYLE if name == STYLE.name else FOLDER / name
    return Response(file.read_bytes(), media_type=KINDS[name])


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
        categories=[] if snapshot is None else list(snapshot.categories.names),
        conditions=[] if snapshot is None else snapshot.conditions,
        data_until="" if snapshot is None or snapshot.data_until is None else snapshot.data_until.isoformat(),
    )
    return HTMLResponse(content, status, {**(headers or {}), "content-security-policy": CONTENT_SECURITY_POLICY})
