"""What a page of another site could make a browser send to the UI, refused.

Dagster's web server checks neither Host nor Origin, and runs mutations by GET and from bodies of any type: a page that
somebody has open in another tab could start runs and read everything. This wraps its application from outside, http and
websocket alike. The rules are those of OWASP's "Cross-Site Request Forgery Prevention" (verifying the origin, fetch
metadata) and, against DNS rebinding, a list of hosts.
"""

import os
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
FRAMES = [(b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", b"frame-ancestors 'self'")]
"""Beside the application's own policy; browsers hold to both."""


def allowed_hosts() -> frozenset[str]:
    """Loopback, and the names in `VPS_ALLOWED_HOSTS`, with commas: those under which a proxy is reached."""
    named = os.environ.get("VPS_ALLOWED_HOSTS", "").split(",")
    return LOOPBACK | {name.strip().lower() for name in named if name.strip()}


class Guard:
    """An ASGI application that lets through to another what `refusal` has no reason against."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *FRAMES]}
            await send(message)

        reason = refusal(scope, self.hosts)
        if reason is None:
            await self.app(scope, receive, framed)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            await PlainTextResponse(f"Refused: {reason}\n", 403)(scope, receive, framed)


def refusal(scope: Scope, hosts: frozenset[str]) -> str | None:
    """Why a request is refused; None if it is not."""
    headers = headers_of(scope)
    return (
        wrong_host(headers, hosts)
        or wrong_origin(headers)
        or wrong_site(scope, headers)
        or (None if scope["type"] == "websocket" else wrong_request(scope, headers))
    )


def headers_of(scope: Scope) -> dict[str, list[str]]:
    """Each header's values, by its name in lower case."""
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def only(headers: dict[str, list[str]], name: str) -> str | None:
    """The header's value; None if it is missing or comes twice."""
    values = headers.get(name, [])
    return values[0] if len(values) == 1 else None


def wrong_host(headers: dict[str, list[str]], hosts: frozenset[str]) -> str | None:
    """A name that resolves to this machine is not one that the UI is served under: it may be an attacker's."""
    host = only(headers, "host")
    if host is None or hostname(f"//{host}") not in hosts:
        return "the Host is neither loopback nor in VPS_ALLOWED_HOSTS"
    return None


def hostname(url: str) -> str | None:
    """The host in a URL that has nothing else but a port."""
    with suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port  # raises if it is no number
        if not (parts.username or parts.password or parts.path or parts.query or parts.fragment):
            return parts.hostname
    return None


def wrong_origin(headers: dict[str, list[str]]) -> str | None:
    """Browsers name the page's origin with everything but simple reads."""
    if "origin" not in headers:
        return None
    same = False
    with suppress(ValueError):
        origin = urlsplit(only(headers, "origin") or "")
        same = origin.scheme in ("http", "https") and origin.netloc.lower() == (only(headers, "host") or "").lower()
    return None if same else "the Origin is another than the Host"


def wrong_site(scope: Scope, headers: dict[str, list[str]]) -> str | None:
    """Of what another site's page makes a browser fetch, only a link to a page of ours is followed."""
    if "sec-fetch-site" not in headers or only(headers, "sec-fetch-site") in ("same-origin", "none"):
        return None
    reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    link = only(headers, "sec-fetch-mode") == "navigate" and only(headers, "sec-fetch-dest") == "document"
    return None if reads and link else "a page of another site has sent it"


def wrong_request(scope: Scope, headers: dict[str, list[str]]) -> str | None:
    """Nothing is changed by reading, and what changes something has a type that a form cannot send."""
    if scope["method"] in READING:
        graphql = scope["path"].rstrip("/").endswith("/graphql")
        # With Accept: text/html the server shows its query page and runs nothing; it looks at the first such header.
        if graphql and "text/html" not in headers.get("accept", [""])[0]:
            return "GraphQL is asked by POST"
        return None
    kind = (only(headers, "content-type") or "").split(";")[0].strip().lower()
    return None if kind == "application/json" else "the Content-Type is not application/json"
