"""What a page of another site could send to the UI is refused; what the UI itself sends is not."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket

from vps_assets.orchestration.guard import LOOPBACK, Guard, allowed_hosts, refusal

OURS = {"host": "127.0.0.1:3000"}
JSON = {"content-type": "application/json"}
SAME = {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}


def request(method: str, path: str, kind: str = "http", **headers: str) -> Scope:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items() if value]
    return {"type": kind, "method": method, "path": path, "query_string": b"", "headers": named}


def asked(method: str, path: str, headers: dict[str, str], kind: str = "http") -> str | None:
    return refusal(request(method, path, kind, **{k.replace("-", "_"): v for k, v in headers.items()}), LOOPBACK)


USED = {
    "the page": ("GET", "/runs", OURS),
    "the page by another of our names": ("GET", "/", {"host": "localhost"}),
    "the page over IPv6": ("GET", "/", {"host": "[::1]:3000"}),
    "a link from a chat": (
        "GET",
        "/runs/1",
        OURS | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ),
    "a mutation of the page": ("POST", "/graphql", OURS | JSON | SAME),
    "a mutation of curl": ("POST", "/graphql", OURS | JSON),
    "a script that reports an asset": ("POST", "/report_asset_materialization/a", OURS | JSON),
    "the query page": ("GET", "/graphql", OURS | {"accept": "text/html,*/*"}),
}


@pytest.mark.parametrize("what", USED)
def test_what_people_and_scripts_send_is_let_through(what: str) -> None:
    method, path, headers = USED[what]
    assert asked(method, path, headers) is None


ATTACKS = {
    "a mutation by GET": ("GET", "/graphql", OURS, "POST"),
    "a mutation by GET as another path": ("GET", "/graphql/", OURS, "POST"),
    "a mutation from another page": ("POST", "/graphql", OURS | JSON | {"origin": "http://evil.example"}, "Origin"),
    "a mutation from a sandboxed frame": ("POST", "/graphql", OURS | JSON | {"origin": "null"}, "Origin"),
    "another port of this machine": ("POST", "/graphql", OURS | JSON | {"origin": "http://127.0.0.1:8000"}, "Origin"),
    "another of our names": ("POST", "/graphql", OURS | JSON | {"origin": "http://localhost:3000"}, "Origin"),
    "a form": ("POST", "/graphql", OURS | {"content-type": "text/plain"}, "Content-Type"),
    "a type that has JSON in it": (
        "POST",
        "/graphql",
        OURS | {"content-type": "text/plain; application/json"},
        "Content-Type",
    ),
    "no type": ("POST", "/report_asset_materialization/a", OURS, "Content-Type"),
    "an image of another page": (
        "GET",
        "/download_debug/1",
        OURS | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        "another site",
    ),
    "a frame of another page": (
        "GET",
        "/",
        OURS | {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        "another site",
    ),
    "a form that navigates": (
        "POST",
        "/graphql",
        OURS | JSON | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        "another site",
    ),
    "a name that now resolves here": ("GET", "/", {"host": "evil.example:3000"}, "Host"),
    "a name that begins like ours": ("GET", "/", {"host": "127.0.0.1.evil.example"}, "Host"),
    "a name before ours": ("GET", "/", {"host": "evil.example@127.0.0.1"}, "Host"),
    "no name": ("GET", "/", {}, "Host"),
    "rebinding with its own origin": (
        "POST",
        "/graphql",
        JSON | {"host": "evil.example:3000", "origin": "http://evil.example:3000"},
        "Host",
    ),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_what_a_page_of_another_site_sends_is_refused(what: str) -> None:
    method, path, headers, words = ATTACKS[what]
    assert words in str(asked(method, path, headers))


def test_a_header_that_comes_twice_is_no_header() -> None:
    scope = request("GET", "/", **OURS)
    scope["headers"].append((b"host", b"127.0.0.1"))
    assert refusal(scope, LOOPBACK) is not None


@pytest.mark.parametrize(("origin", "let_through"), [("http://127.0.0.1:3000", True), ("http://evil.example", False)])
def test_a_websocket_is_let_through_from_our_page_alone(origin: str, let_through: bool) -> None:
    assert (asked("GET", "/graphql", OURS | {"origin": origin}, "websocket") is None) == let_through


async def page(request: object) -> PlainTextResponse:
    return PlainTextResponse("page")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


GUARDED = Guard(Starlette(routes=[Route("/", page), WebSocketRoute("/ws", echo)]), LOOPBACK)


def answers(scope: Scope, *received: Message) -> list[Message]:
    """What the guarded application sends."""
    sent: list[Message] = []
    waiting = list(received)

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(GUARDED(scope, receive, send))
    return sent


def test_the_guard_answers_403_and_lets_no_other_page_frame_ours() -> None:
    body = {"type": "http.request", "body": b""}
    start, content = answers(request("GET", "/", **OURS), body)
    assert (start["status"], content["body"]) == (200, b"page")
    assert (b"x-frame-options", b"SAMEORIGIN") in start["headers"]
    assert (b"content-security-policy", b"frame-ancestors 'self'") in start["headers"]
    refused, why = answers(request("GET", "/", host="evil.example"), body)
    assert refused["status"] == 403
    assert b"VPS_ALLOWED_HOSTS" in why["body"]


def test_a_refused_websocket_is_never_accepted() -> None:
    connect = {"type": "websocket.connect"}
    kinds = [message["type"] for message in answers(request("GET", "/ws", "websocket", **OURS), connect)]
    assert kinds[:2] == ["websocket.accept", "websocket.send"]
    evil = request("GET", "/ws", "websocket", **OURS, origin="http://evil.example")
    assert [message["type"] for message in answers(evil, connect)] == ["websocket.close"]


def test_further_hosts_are_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPS_ALLOWED_HOSTS", "prices.example.org, Other.example")
    assert allowed_hosts() == LOOPBACK | {"prices.example.org", "other.example"}
