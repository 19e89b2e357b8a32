"""The HTTP service, asked in this process: what it answers, what it refuses, what it tells about it."""

import logging
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from conftest import Marketplace
from PIL import Image
from services import client_of, once_ready
from starlette.testclient import TestClient

from vps_assets.commands.serve import serve
from vps_assets.errors import UserError
from vps_assets.home import Home
from vps_assets.serving import service
from vps_assets.serving.form import FIELDS, money
from vps_assets.serving.gate import MOST_BODY_BYTES
from vps_assets.serving.observed import JsonLines
from vps_assets.serving.problems import Refused
from vps_assets.serving.renewal import Renewal


@pytest.fixture(scope="module")
def client(marketplace: Marketplace) -> Iterator[TestClient]:
    with client_of(marketplace.home) as client:
        yield once_ready(client)


@pytest.fixture(scope="module")
def photo(marketplace: Marketplace) -> bytes:
    return next((marketplace.home.path / "demo" / "images").glob("*.jpg")).read_bytes()


def ask(client: TestClient, photo: bytes | None = None, **fields: str):  # noqa: ANN201 (whichever httpx it is)
    files = {"photo": ("p.jpg", photo)} if photo is not None else {"category": (None, fields.pop("category", ""))}
    return client.post("/v1/suggestions", data=fields, files=files)


def test_a_photo_words_or_both_get_a_price_or_advice(client: TestClient, photo: bytes) -> None:
    answers = {
        "photo": ask(client, photo, category="phone"),
        "words": ask(client, category="phone", title="Aldera phone"),
        "both": ask(client, photo, category="phone", title="Aldera phone", brand="Aldera"),
    }
    for inputs, response in answers.items():
        answer = response.json()
        assert response.status_code == 200, answer
        assert answer["inputs"] == inputs
        assert (answer["suggested_price"] is not None) == answer["qualified"] == ("advice" not in answer)
        assert answer["data_until"] is not None


def test_it_agrees_with_the_table_of_suggestions(client: TestClient, marketplace: Marketplace) -> None:
    """With the statistics of the listing's day; ranges move with what has sold since, prices do not."""
    rows = marketplace.polars("""
        select s.qualified, s.suggested_price, s.qualification, s.inputs, s.model_id, c.*
        from price_suggestions as s join clean_listings as c using (listing_id)
        qualify row_number() over (partition by s.inputs order by listing_id) <= 6
    """)
    for row in rows.to_dicts():
        photo = marketplace.home.artefacts.photo(row["photo_hash"]).read_bytes()
        named = {"seller": "seller_id", **{name: name for name in ("category", "title", "description", "brand")}}
        fields = {field: row[column] for field, column in (named | {"condition": "condition"}).items() if row[column]}
        fields |= {name: "|".join(row[name]) for name in ("attributes", "specifications") if row[name]}
        answer = ask(client, photo, **fields, listed_on=row["listed_on"].isoformat()).json()
        assert answer["qualification"] == pytest.approx(row["qualification"], abs=2e-4)
        assert [answer[name] for name in ("qualified", "inputs", "model_id")] == [
            row[name] for name in ("qualified", "inputs", "model_id")
        ]
        if row["qualified"]:
            assert answer["suggested_price"] == pytest.approx(row["suggested_price"], abs=0.011, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "price"), [("62,50", 62.5), ("62.5", 62.5), ("1500", 1500.0), ("", None), (None, None)]
)
def test_an_asking_price_may_have_a_decimal_comma(text: str | None, price: float | None) -> None:
    assert money(text) == price


@pytest.mark.parametrize("text", ["1,500", "1.500", "1.500,00", "1_000", "١٢", "-3", "1e3", "nan", "12 EUR"])
def test_what_could_mean_two_prices_or_none_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="42.50"):
        money(text)


REFUSED = {
    "no category": ({"title": "a phone"}, {}, 422, "category"),
    "an unknown field": ({"category": "phone", "title": "a", "colour": "red"}, {}, 422, "'colour'"),
    "a text that is a file": ({"category": "phone"}, {"title": b"a phone"}, 422, "'title'"),
    "a photo that is a text": ({"category": "phone", "photo": "x"}, {}, 422, "photo=@FILE"),
    "no photo and no words": ({"category": "phone"}, {}, 422, "neither a photo nor words"),
    "an empty photo": ({"category": "phone"}, {"photo": b""}, 422, "neither a photo nor words"),
    "bytes that are no photo": ({"category": "phone"}, {"photo": b"\xff\xd8 no photo"}, 422, "JPEG, PNG or WebP"),
    "a day that is none": ({"category": "phone", "title": "a", "listed_on": "May"}, {}, 422, "2024-05-31"),
    "a day to come": ({"category": "phone", "title": "a", "listed_on": "2999-01-01"}, {}, 422, "not come"),
    "a long title": ({"category": "phone", "title": "a" * 2001}, {}, 422, "2,000"),
    "a longer field than any": ({"category": "phone", "title": "a" * 200_000}, {}, 400, "Part exceeded"),
    "a day without dashes": ({"category": "phone", "title": "a", "listed_on": "20240531"}, {}, 422, "2024-05-31"),
    "an asking price that is twelve hundred or 1.2": (
        {"category": "phone", "title": "a", "asking_price": "1.200"},
        {},
        422,
        "between thousands",
    ),
    "an asking price that is none": ({"category": "phone", "title": "a", "asking_price": "1.000,50"}, {}, 422, "42.50"),
    "an asking price of nothing": ({"category": "phone", "title": "a", "asking_price": "0"}, {}, 422, "above zero"),
    "an asking price beyond all": ({"category": "phone", "title": "a", "asking_price": "nan"}, {}, 422, "42.50"),
    "a category of spaces": ({"category": " ", "title": "a"}, {}, 422, "category"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_priced_is_a_problem_with_one_sentence(client: TestClient, what: str) -> None:
    fields, files, status, said = REFUSED[what]
    response = client.post("/v1/suggestions", data=fields, files=files or {"seller": (None, "")})
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert said in problem["detail"]
    assert problem["detail"].endswith(".")
    assert response.headers["x-request-id"] == problem["request_id"]


def test_a_field_that_comes_twice_and_more_fields_than_there_are_are_refused(client: TestClient) -> None:
    twice = [("category", (None, "phone")), ("title", (None, "a")), ("title", (None, "b"))]
    assert "twice" in client.post("/v1/suggestions", files=twice).json()["detail"]
    many = [("title", (None, "a"))] * 30
    assert client.post("/v1/suggestions", files=many).status_code == 400
    assert client.post("/v1/suggestions", json={"category": "phone"}).status_code == 415
    assert client.get("/v1/suggestions").status_code == 405
    assert client.get("/elsewhere").json()["title"] == "There is nothing here"


def form_of(*parts: tuple[str, str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    heads = ((f'--b\r\nContent-Disposition: form-data; name="{n}"{f}\r\n\r\n').encode() for n, f, _ in parts)
    return b"".join(head + content + b"\r\n" for head, (_, _, content) in zip(heads, parts, strict=True)) + end


@pytest.mark.parametrize("end", [b"", b"--b", b"--b-"])
def test_a_form_that_is_cut_off_is_not_taken_for_a_whole_one(client: TestClient, photo: bytes, end: bytes) -> None:
    """Without its last line the photo would be dropped silently, and words alone priced."""
    body = form_of(("category", "", b"phone"), ("photo", '; filename="p"', photo), end=end)
    for path in ("/v1/suggestions", "/"):
        response = client.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=b"})
        assert response.status_code == 400
        assert "not arrived whole" in response.text


def test_a_charset_that_there_is_not_is_the_clients_mistake(client: TestClient) -> None:
    body = form_of(("category", "", b"phone"), ("title", "", b"K\xf6ln"))
    for charset, status in (("undefined", 400), ("no-such", 200), ("latin-1", 200)):
        kind = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
        assert client.post("/v1/suggestions", content=body, headers=kind).status_code == status, charset


def test_what_arrives_at_once_is_bounded_in_bytes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    arriving = client.app.app.state.service.arriving  # type: ignore[attr-defined]
    before = arriving.free_bytes
    monkeypatch.setattr(arriving, "free_bytes", 100)
    busy = ask(client, category="phone", title="a phone")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert arriving.free_bytes == 100
    monkeypatch.setattr(arriving, "free_bytes", before)
    assert ask(client, category="phone", title="a phone").status_code == 200
    assert arriving.free_bytes == before


def test_a_large_body_is_refused_by_its_header_and_while_it_arrives(client: TestClient) -> None:
    chunk, sent = b"a" * 2**20, 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
        while sent < 3 * MOST_BODY_BYTES:
            sent += len(chunk)
            yield chunk

    kind = {"content-type": "multipart/form-data; boundary=b"}
    by_header = client.post("/v1/suggestions", content=b"", headers={**kind, "content-length": str(2**30)})
    arriving = client.post("/v1/suggestions", content=endless(), headers=kind)
    assert by_header.status_code == arriving.status_code == 413
    assert "20 MiB" in arriving.json()["detail"]


def test_a_photo_is_never_written_to_a_file(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(_: object) -> None:
        raise AssertionError("a photo goes to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", written)
    noise, file = Image.effect_noise((1800, 1800), 90).convert("RGB"), BytesIO()
    noise.save(file, "PNG")
    assert len(file.getvalue()) > 2 * 2**20
    assert ask(client, file.getvalue(), category="phone").status_code == 200


def test_nothing_that_a_seller_says_is_logged_or_counted(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = {"title": "mintgreen zebra", "seller": "ann@example.org", "brand": "Quxbrand", "category": "Zzcategory"}
    priced = secrets | {"any_category": "yes"}
    with caplog.at_level(logging.DEBUG):
        assert ask(client, photo, **priced).status_code == 200
        assert ask(client, photo, **secrets).status_code == 422
        assert ask(client, b"no photo", **secrets).status_code == 422
        assert client.post("/v1/suggestions?title=mintgreen", data=secrets).status_code == 415
    lines = "\n".join(JsonLines().format(record) for record in caplog.records if record.name == "vps")
    assert lines.count('"path": "/v1/suggestions"') == 4
    assert '"stages_ms": {"wait"' in lines
    for word in ("mintgreen", "ann@example.org", "Quxbrand", "Zzcategory"):
        assert word not in lines + client.get("/metrics").text


def test_what_is_counted_adds_up(client: TestClient, photo: bytes) -> None:
    def counted(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    names = ("vps_suggestions_total", "vps_unknown_categories_total", 'vps_responses_total{status="422"}')
    before = [counted(name) for name in names]
    ask(client, photo, category="phone")
    ask(client, photo, category="no such category", any_category="yes")
    ask(client, b"no photo", category="phone")
    assert [counted(name) - was for name, was in zip(names, before, strict=True)] == [2, 1, 1]
    assert counted("vps_data_age_days") > 0


def test_a_client_that_asks_too_often_is_told_when_to_come_again(marketplace: Marketplace) -> None:
    with client_of(marketplace.home, requests_a_minute=3) as client:
        statuses = [ask(once_ready(client), category="phone", title="a phone").status_code for _ in range(4)]
        again = ask(client, category="phone", title="a phone")
    assert statuses == [200, 200, 200, 429]
    assert 1 <= int(again.headers["retry-after"]) <= 60


HEADERS = {
    "another host": ({"host": "evil.example"}, 403),
    "another origin": ({"origin": "http://evil.example"}, 403),
    "another site": ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
    "its own page": ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
}


@pytest.mark.parametrize("what", HEADERS)
def test_another_sites_page_cannot_ask(client: TestClient, what: str) -> None:
    headers, status = HEADERS[what]
    response = client.get("/v1/model", headers=headers)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_where_there_is_a_key_nothing_but_health_is_told_without_it(marketplace: Marketplace) -> None:
    with client_of(marketplace.home, key="s3cret") as client:
        once_ready(client)
        for path in ("/v1/model", "/metrics", "/v1/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer s3cre"}).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_a_service_that_is_not_warm_yet_says_so(marketplace: Marketplace, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Renewal, "look", lambda _: go_on.wait(10))
    with client_of(marketplace.home) as client:
        assert client.get("/v1/health/live").status_code == 200
        refused = [client.get("/v1/health/ready"), client.get("/v1/model"), ask(client, category="phone", title="a")]
        go_on.set()
    assert [response.status_code for response in refused] == [503, 503, 503]
    assert refused[2].headers["retry-after"] == "1"


def test_a_key_is_found_in_a_header_or_refused_at_the_start(
    marketplace: Marketplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(marketplace.home, key="s3cret") as client:
        asked = client.get("/metrics", headers={"authorization": "bearer  s3cret"})
        assert asked.status_code == 200
        assert client.get("/metrics").headers["www-authenticate"] == "Bearer"
    for key in ("cl\xe9", "a b", "end\n"):
        monkeypatch.setenv("VPS_API_KEY", key)
        with pytest.raises(UserError, match="ASCII"):
            serve(marketplace.home, "127.0.0.1", 0, 60)


def test_a_service_whose_thread_has_died_does_not_live(marketplace: Marketplace) -> None:
    with client_of(marketplace.home) as client:
        assert once_ready(client).get("/v1/health/live").status_code == 200
        client.app.app.state.service.batcher.close()  # type: ignore[attr-defined]
        assert client.get("/v1/health/live").json() == {"state": "dead", "failure": None}


def test_an_answer_that_takes_too_long_is_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ANSWERED_WITHIN_S", 0.0)
    response = ask(client, category="phone", title="a phone")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_many_clients_with_good_and_bad_photos_get_each_their_own_answer(client: TestClient, photo: bytes) -> None:
    def one(number: int) -> int:
        return ask(client, photo if number % 3 else photo[: 100 + number], category="phone").status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(one, range(48)))
    assert statuses == [200 if number % 3 else 422 for number in range(48)]
    batches = [line for line in client.get("/metrics").text.splitlines() if "vps_batch_offers_bucket" in line]
    alone, every = (float(next(line for line in batches if f'le="{le}"' in line).split()[-1]) for le in ("1.0", "+Inf"))
    assert alone < every, "some were answered together"


def test_the_description_of_the_service_names_every_field_and_problem(client: TestClient) -> None:
    described = client.get("/v1/openapi.json").json()["paths"]["/v1/suggestions"]["post"]
    form = described["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"photo", *FIELDS}
    assert {"200", "413", "422", "429", "503"} <= set(described["responses"])


def test_the_model_that_answers_is_told(client: TestClient, marketplace: Marketplace, photo: bytes) -> None:
    served = client.get("/v1/model").json()
    assert ask(client, photo, category="phone").json()["model_id"] == served["models"]["photo"]
    (newest,) = marketplace.query("select max(sold_on) from clean_listings")[0]
    assert served["data_until"] == newest.isoformat()


def test_an_unexpected_error_is_a_problem_and_its_message_is_not_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> pl.DataFrame:
        raise LookupError("the seller's own words")

    monkeypatch.setattr("vps_assets.serving.snapshot.with_statistics", fails)
    response = ask(client, category="phone", title="a phone")
    assert response.status_code == 500
    assert "own words" not in response.text + caplog.text
    assert [record.fields["error"] for record in caplog.records if record.levelname == "ERROR"] == ["LookupError"]


def test_a_directory_without_champions_is_not_served(tmp_path: Path) -> None:
    with client_of(Home(tmp_path / "nothing")) as client:
        assert client.get("/v1/health/ready").json() == {"state": "loading", "failure": None}
