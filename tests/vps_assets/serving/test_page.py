"""The seller's page, with and without JavaScript; by clicks where Chromium is installed."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from browsers import axe_faults, chromium
from conftest import Marketplace
from PIL import Image, ImageDraw, PngImagePlugin
from playwright.sync_api import Browser, Page, Route
from python_multipart.multipart import parse_options_header
from starlette.testclient import TestClient

from vps_assets.serving.app import create_app
from vps_assets.serving.gate import Gate
from vps_assets.serving.observed import Metrics
from vps_assets.serving.offers import Offer
from vps_assets.serving.pages import FOLDER, KINDS, STYLE
from vps_assets.serving.renewal import Renewal
from vps_assets.serving.service import Suggestion
from vps_assets.serving.view import view_of
from vps_ml.photos.quality import ADVICE

HOSTS = frozenset({"127.0.0.1"})


def app_of(marketplace: Marketplace) -> tuple[Gate, Renewal]:
    metrics, renewal = Metrics(), Renewal(marketplace.home)
    return Gate(create_app(renewal, metrics, 10**6), metrics, HOSTS, None), renewal


def ready(renewal: Renewal) -> None:
    until = time.monotonic() + 60
    while renewal.snapshot is None:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def client(marketplace: Marketplace) -> Iterator[TestClient]:
    app, renewal = app_of(marketplace)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        ready(renewal)
        yield client


@pytest.fixture(scope="module")
def address(marketplace: Marketplace) -> Iterator[str]:
    app, renewal = app_of(marketplace)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        ready(renewal)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def said() -> list[str]:
    """What the browser complains of."""
    return []


@pytest.fixture
def opened(browser: Browser, address: str, said: list[str]) -> Iterator[Callable[..., Page]]:
    contexts = []

    def open_page(**settings: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **settings}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def photo(marketplace: Marketplace) -> Path:
    """One that is priced."""
    (photo_hash,) = marketplace.query("""
        select photo_hash from price_suggestions join clean_listings using (listing_id)
        where qualified and category = 'phone' order by qualification desc limit 1
    """)[0]
    return marketplace.home.artefacts.photo(photo_hash)


def answered(page: Page, state: str) -> None:
    page.wait_for_selector(f"#answer[data-state={state}]", timeout=15_000)


def becomes(page: Page, expression: str) -> None:
    """Wait until it is so; not by playwright's own waiting, which evaluates in the page, against its policy."""
    until = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < until, expression
        time.sleep(0.02)


def show(page: Page, content: bytes, kind: str = "image/jpeg") -> None:
    page.set_input_files("#photo", {"name": "p", "mimeType": kind, "buffer": content})


def black(tmp_path: Path) -> bytes:
    file = BytesIO()
    Image.new("RGB", (300, 300), (3, 3, 3)).save(file, "JPEG")
    return file.getvalue()


def priced(page: Page, photo: Path, tmp_path: Path) -> None:
    show(page, photo.read_bytes())
    page.select_option("#category", "phone")
    page.fill("#title", "Corvane phone size XL limited edition like new with receipt")
    page.fill("#asking_price", "500")
    page.click("#send")
    answered(page, "priced")
    becomes(page, "[...document.querySelectorAll('.sold-items img')].every((image) => image.naturalWidth)")


def unqualified(page: Page, photo: Path, tmp_path: Path) -> None:
    """As the service answers it: which photos a small market's model refuses, nobody can promise."""
    nothing = {"suggested_price": None, "low": None, "high": None, "currency": "EUR", "data_until": None}
    nothing["category_known"] = True
    nothing |= {"comparables": [], "asking": None}
    why = {"qualified": False, "qualification": 0.2, "reason": "dark", "advice": ADVICE["dark"], "inputs": "photo"}
    view = view_of(Offer("phone"), Suggestion(model_id="m", **nothing, **why))
    page.route("**/page/answer", lambda route: route.fulfill(json=view))
    show(page, black(tmp_path))
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "unqualified")


def refused(page: Page, photo: Path, tmp_path: Path) -> None:
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "refused")


def told(status: int, title: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, json={"title": title, "detail": "Come again.", "status": status})


def busy(page: Page, photo: Path, tmp_path: Path) -> None:
    page.route("**/page/answer", told(503, "Not now"))
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "busy")


def offline(page: Page, photo: Path, tmp_path: Path) -> None:
    page.context.set_offline(True)
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "offline")


def working(page: Page, photo: Path, tmp_path: Path) -> None:
    page.route("**/page/answer", lambda route: None)  # never answered
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "working")


def wrong_file(page: Page, photo: Path, tmp_path: Path) -> None:
    show(page, b"GIF89a and more", "image/gif")
    becomes(page, "document.getElementById('photo-problem').textContent.includes('JPEG')")


STATES = {
    "empty": lambda *_: None, "working": working, "priced": priced, "unqualified": unqualified, "refused": refused,
    "busy": busy, "offline": offline, "wrong file": wrong_file,
}  # fmt: skip
LOUD = {"refused", "busy", "offline"}
"""States in which a browser itself reports the response, or that there is none."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_every_state_is_accessible_and_breaks_no_policy(
    opened: Callable[..., Page], said: list[str], photo: Path, tmp_path: Path, state: str, scheme: str
) -> None:
    """axe, its incompletes too; and what it does not see: a page wider than its window, small targets."""
    page = opened(color_scheme=scheme, viewport={"width": 320, "height": 800}, reduced_motion="reduce")
    STATES[state](page, photo, tmp_path)
    assert axe_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate("""[...document.querySelectorAll('input, select, textarea, button, a')]
        .filter(e => e.offsetParent && (e.offsetHeight < 24 || e.offsetWidth < 24)).map(e => e.outerHTML)""")
    assert small == []
    assert [line for line in said if not (state in LOUD and "Failed to load resource" in line)] == []


def test_text_of_twice_the_size_fits_a_narrow_window(opened: Callable[..., Page], photo: Path, tmp_path: Path) -> None:
    page = opened(viewport={"width": 320, "height": 800})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    priced(page, photo, tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_page_the_service_and_the_command_line_agree(
    opened: Callable[..., Page], client: TestClient, photo: Path, tmp_path: Path
) -> None:
    page = opened()
    priced(page, photo, tmp_path)
    fields = {"category": "phone", "title": "Corvane phone size XL limited edition like new with receipt"}
    answer = client.post("/v1/suggestions", data=fields, files={"photo": photo.read_bytes()}).json()
    shown = page.inner_text("#answer .big").replace(",", "")
    assert shown == f"{answer['suggested_price']:.2f} {answer['currency']}"
    low, high, price = (
        float(page.get_attribute("#answer svg rect.range", name) or 0) for name in ("x", "width", "height")
    )
    assert 0 < low < low + high < 100
    assert price > 0
    assert len(answer["comparables"]) == 5
    sold = [f"{one['sold_price']:,.2f} {answer['currency']}" for one in answer["comparables"]]
    assert page.locator(".sold-items b").all_inner_texts() == sold
    assert page.locator("#answer rect.tick").count() == len(sold)
    assert page.locator("#answer rect.asked").count() == 1
    assert "You ask 500.00 EUR" in page.inner_text("#answer")


def test_by_the_keyboard_alone(opened: Callable[..., Page]) -> None:
    page = opened()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        if reached[-1] == "category":
            page.keyboard.type("phone")
        if reached[-1] == "title":
            page.keyboard.type("Corvane phone, like new")
        if reached[-1] == "send":
            break
    assert reached == ["photo", "category", "title", "brand", "condition", "asking_price", "description", "send"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer:is([data-state=priced], [data-state=unqualified])", timeout=15_000)
    assert page.evaluate("document.activeElement.id") == "send", "the answer does not take the focus away"


def test_a_dropped_photo_is_shown_and_can_be_removed(opened: Callable[..., Page], photo: Path) -> None:
    page = opened()
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "p.jpg", {type: "image/jpeg"}));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
        }""",
        list(photo.read_bytes()),
    )
    page.wait_for_selector("#preview:not([hidden])")
    assert page.evaluate("document.getElementById('preview').decode().then(() => true)")
    page.click("#remove")
    assert page.is_hidden("#preview")


def test_a_phone_is_offered_its_camera(opened: Callable[..., Page]) -> None:
    assert opened().is_hidden("#taken")
    phone = opened(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    assert phone.is_visible("#taken")
    assert phone.get_attribute("#taken", "capture") == "environment"
    assert phone.get_attribute("#photo", "capture") is None, "a photo of before can be chosen too"


def drawn(width: int = 61, height: int = 40) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((width * 8, height * 8))
    ImageDraw.Draw(photo).rectangle((5, 5, 90, 60), fill="red")
    return photo


def with_metadata(kind: str, **options: Any) -> bytes:
    """A photo turned by its orientation, with a place, a device, a comment and what editors write."""
    exif, file = Image.Exif(), BytesIO()
    exif[0x0112], exif[0x010F] = 6, "SECRET maker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[29] = "SECRET 2024:05:01"
    if kind == "PNG":
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", "SECRET place")
        notes.add_itxt("XML:com.adobe.xmp", "SECRET xmp", zip=False)
        options["pnginfo"] = notes
    if kind == "JPEG":
        options["comment"] = b"SECRET comment"
    drawn().save(file, kind, exif=exif, **({} if kind == "PNG" else {"xmp": b"SECRET xmp"}), **options)
    return file.getvalue()


KINDS_OF_PHOTO = {
    "baseline": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("name", KINDS_OF_PHOTO)
def test_what_the_camera_wrote_into_a_photo_stays_at_home(opened: Callable[..., Page], name: str) -> None:
    kind, options = KINDS_OF_PHOTO[name]
    content = with_metadata(kind, **options)
    if kind == "JPEG":
        content += b"SECRET second picture"
    assert b"SECRET" in content
    page, sent = opened(), []

    def keep(route: Route) -> None:
        sent.append((route.request.headers["content-type"], route.request.post_data_buffer))
        route.fulfill(status=503, json={"title": "Not now", "detail": "Come again."})

    page.route("**/page/answer", keep)
    show(page, content, f"image/{kind.lower()}")
    page.wait_for_selector("#preview:not([hidden])")
    page.select_option("#category", "phone")
    page.click("#send")
    answered(page, "busy")
    ((content_type, body),) = sent
    assert b"SECRET" not in body
    boundary = parse_options_header(content_type)[1][b"boundary"]
    part = next(part for part in body.split(b"--" + boundary) if b'name="photo"' in part)
    with Image.open(BytesIO(part.split(b"\r\n\r\n", 1)[1][:-2])) as arrived, Image.open(BytesIO(content)) as before:
        assert np.array_equal(np.asarray(arrived.convert("RGB")), np.asarray(before.convert("RGB")))
        assert arrived.getexif()[0x0112] == 6
        assert set(arrived.getexif()) == {0x0112}


def test_without_javascript_the_form_answers_a_page(client: TestClient, photo: Path) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "require-trusted-types-for 'script'" in page.headers["content-security-policy"]
    assert "<option>phone</option>" in page.text
    form = {"category": "phone", "title": "Corvane phone, like new", "brand": ""}
    own = {"origin": "null", "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
    answer = client.post("/", data=form, files={"photo": photo.read_bytes()}, headers=own)
    assert answer.status_code == 200
    assert 'data-state="priced"' in answer.text
    assert " EUR</p>" in answer.text
    assert client.post("/", data=form, files={"photo": b"x"}, headers={"origin": "null"}).status_code == 403
    wrong = client.post("/", data=form, files={"photo": b"no photo"}, headers=own)
    assert (wrong.status_code, 'data-state="refused"' in wrong.text) == (422, True)


def test_by_a_form_of_a_browser_without_javascript(opened: Callable[..., Page], photo: Path) -> None:
    page = opened(java_script_enabled=False)
    page.set_input_files("#photo", str(photo))
    page.select_option("#category", "phone")
    page.fill("#title", "Corvane phone size XL limited edition like new with receipt")
    page.fill("#asking_price", "500")
    page.click("#send")
    page.wait_for_selector("#answer[data-state=priced]", timeout=15_000)
    assert page.locator(".sold-items img").count() == page.locator("#answer rect.tick").count() == 5
    assert "You ask 500.00 EUR" in page.inner_text("#answer")


def test_the_page_is_a_few_files_of_its_own(client: TestClient) -> None:
    assert len((FOLDER / "page.js").read_text().splitlines()) <= 250
    for name, kind in KINDS.items():
        assert client.get(f"/page/{name}").headers["content-type"].split(";")[0] == kind
    assert client.get("/favicon.ico").status_code == 200
    assert client.get("/page/page.html").status_code == client.get("/page/..%2Fapp.py").status_code == 404
    sources = "".join(file.read_text() for file in (FOLDER / "page.js", FOLDER / "page.html", STYLE))
    assert "//" not in sources.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), "nothing from elsewhere"
    assert "innerHTML" not in sources
