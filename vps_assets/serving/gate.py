"""Before the application: who may ask, how large a request may be; and after it the headers and the line in the log.

An ASGI wrapper, so that a body is counted while it arrives, and refused before it has.
"""

import hmac
import logging
import uuid
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vps_assets.orchestration.guard import headers_of, only, wrong_host, wrong_origin, wrong_site
from vps_assets.serving.observed import Metrics
from vps_assets.serving.problems import Refused, problem

MOST_BODY_BYTES = 20 * 2**20
OPEN = frozenset({"/v1/health/live", "/v1/health/ready"})
"""What everybody may ask, under whichever name: whoever watches over the process has no key."""
TAIL_BYTES = 1024
"""Where a form's last line stands."""
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
log = logging.getLogger("vps")


class Gate:
    """An ASGI application around another.

    Args:
        app: what answers.
        metrics: where responses are counted.
        hosts: names that it is served under.
        key: what a client has to show as `Authorization: Bearer KEY`; None: nothing.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: frozenset[str], key: str | None) -> None:
        self.app = app
        self.metrics = metrics
        self.hosts = hosts
        self.key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, began, status = uuid.uuid4().hex, perf_counter(), 0
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "log": {}, "tail": bytearray()}

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = list(message.get("headers", []))
                own = [pair for pair in HEADERS if pair[0] not in {name for name, _ in told}]
                message = {**message, "headers": [*told, *own, (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            refusal = self.refusal(scope)
            if refusal is None:
                await self.app(scope, counted(receive, scope["state"]["tail"]), sent)
            else:
                await problem(refusal.status, refusal.detail, request_id, refusal.headers)(scope, receive, sent)
        finally:
            milliseconds = round(1000 * (perf_counter() - began), 2)
            path = getattr(scope.get("route"), "path", None)  # never what somebody has typed
            fields = {"request_id": request_id, "method": scope["method"], "path": path, "status": status}
            self.metrics.responses.labels(status).inc()
            log.info("request", extra={"fields": {**fields, "ms": milliseconds, **scope["state"]["log"]}})

    def refusal(self, scope: Scope) -> Refused | None:
        """Why a request is refused by its headers alone; None if it is not."""
        if scope["path"] in OPEN:
            return None
        headers = headers_of(scope)
        if headers.get("origin") == ["null"] and only(headers, "sec-fetch-site") == "same-origin":
            del headers["origin"]  # our own form: a page without a referrer does not name its origin either
        reason = wrong_host(headers, self.hosts) or wrong_origin(headers) or wrong_site(scope, headers)
        if reason is not None:
            return Refused(403, f"{reason}.")
        if self.key is not None:
            scheme, _, shown = (only(headers, "authorization") or "").partition(" ")
            right = hmac.compare_digest(shown.strip().encode(), self.key.encode())
            if not right or scheme.lower() != "bearer":
                return Refused(401, "Send the key as `Authorization: Bearer KEY`.", {"WWW-Authenticate": "Bearer"})
        length = only(headers, "content-length") or "0"
        if length.isdecimal() and int(length) > MOST_BODY_BYTES:
            return too_large()
        return None


def too_large() -> Refused:
    return Refused(413, f"A request may have {MOST_BODY_BYTES // 2**20} MiB: send a smaller photo.")


def counted(receive: Receive, tail: bytearray) -> Receive:
    """Receive as before, until a body is larger than one may be; `tail` gets the body's last bytes.

    Raises:
        Refused: it is.
    """
    total = 0

    async def receiving() -> Message:
        nonlocal total
        message = await receive()
        body = message.get("body", b"")
        total += len(body)
        tail[:] = (tail + body[-TAIL_BYTES:])[-TAIL_BYTES:]
        if total > MOST_BODY_BYTES:
            raise too_large()
        return message

    return receiving
