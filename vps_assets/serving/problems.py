"""Errors as clients read them: RFC 9457 problem details, one sentence and the request's id."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import JSONResponse

from vps_assets.errors import UserError

TITLES = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "The request is refused",
    404: "There is nothing here",
    405: "This is not how it is asked",
    413: "The request is too large",
    415: "The request is of another type",
    422: "The listing cannot be priced as it is",
    429: "Too many requests",
    500: "Something did not work",
    503: "Not now",
}
"""Status -> what it means, the same for every problem of that status."""


class Problem(BaseModel):
    """Why there is no answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    """One sentence: what is wrong and, where there is something to do, what."""
    request_id: str
    """In the service's log, the line of this request."""


class Refused(UserError):
    """A request that gets a problem instead of an answer."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def later(status: int, detail: str, seconds: int) -> Refused:
    """A refusal of a request that may come again after so many seconds."""
    return Refused(status, detail, {"Retry-After": str(seconds)})


def problem(status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response."""
    content = Problem(title=TITLES.get(status, "Error"), status=status, detail=detail, request_id=request_id)
    media_type = "application/problem+json"
    return JSONResponse(content.model_dump(), status, dict(headers or {}), media_type=media_type)
