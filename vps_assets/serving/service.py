"""A request's way to its answer: let in, read, put in the queue, counted, logged."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from time import time
from typing import Any

from limits import RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter
from pydantic import BaseModel
from starlette.requests import Request

from vps_assets.errors import NoChampion, UserError
from vps_assets.serving.batches import Answered, Batcher, QueueFull
from vps_assets.serving.form import offer_in
from vps_assets.serving.gate import MOST_BODY_BYTES
from vps_assets.serving.observed import Metrics, trace
from vps_assets.serving.offers import Offer
from vps_assets.serving.problems import Refused, later
from vps_assets.serving.renewal import Renewal
from vps_assets.serving.snapshot import Snapshot, Suggested

ANSWERED_WITHIN_S = 5.0
COME_AGAIN_S = 1
"""Where the queue is full, or nothing is loaded yet."""
PHOTOS_A_SUGGESTION = 10
"""Twice those that are shown."""
MOST_ARRIVING_BYTES = 512 * 2**20
log = logging.getLogger("vps")


class Comparable(BaseModel):
    """A sold item that looks similar."""

    listing_id: str
    photo_hash: str
    """Its photo, small: GET /v1/photos/{photo_hash}."""
    sold_price: float
    sold_on: date


class Chance(BaseModel):
    """The chance of a sale of items for which their sellers asked so much, with the ends of its interval."""

    within_days: int
    chance: float
    low: float
    high: float
    chosen_chance: float | None
    """If so much is asked for an item that is worth what is suggested, as far as is known; null: not known."""


class Price(BaseModel):
    """What to ask, with the ends of its interval: of the fit alone."""

    within_days: int
    price: float
    low: float
    high: float


class PriceAt(Price):
    """The highest price that sells within these days with this chance."""

    chance: float


class Asking(BaseModel):
    """What is known of the asking price."""

    asking_price: float | None
    place: str | None
    """In the range: below, within or above."""
    chances: list[Chance]
    prices: list[PriceAt]
    """If the price is chosen by the suggestion alone (docs/adr/0024)."""
    most_gain: Price | None
    """What brings most in expectation, likewise."""


class Suggestion(BaseModel):
    """A price with its range, or what to do about the photo."""

    qualified: bool
    suggested_price: float | None
    low: float | None
    high: float | None
    currency: str | None
    qualification: float
    """0 to 1: priced at 0.5 and above."""
    inputs: str
    """What it was priced by: photo, words or both."""
    reason: str | None
    model_id: str
    category_known: bool
    """Whether anything of the category has sold; otherwise the price is by what other categories sold for."""
    looks_like: str | None = None
    """The category that the photo is of, where that surely is not the given one: the price is by the given one."""
    unknown_labels: list[str] = []
    """What was said that no sold item had, like `brand=Aldera`."""
    data_until: date | None
    """The newest sale that it knows."""
    comparables: list[Comparable]
    """Sold items of the category that look similar: evidence, not what the price was made from."""
    asking: Asking | None
    """Null of what is not priced, and where too few have sold; by all that is known, whatever `listed_on` is."""
    advice: str | None = None
    would_help: dict[str, float] | None = None
    """What could be added -> the gain in `qualification` that others had from it, on average."""


@dataclass
class Arriving:
    """How much of requests may be in memory at once: a photo stays there until it is answered."""

    free_bytes: int

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Hold so many bytes.

        Raises:
            Refused: so many are not free.
        """
        if count > self.free_bytes:
            raise busy()
        self.free_bytes -= count
        try:
            yield
        finally:
            self.free_bytes += count


def bytes_of(request: Request) -> int:
    """How large a request is, by its header; without one, as large as one may be."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else MOST_BODY_BYTES


@dataclass(frozen=True)
class Service:
    """What the routes share."""

    renewal: Renewal
    batcher: Batcher
    metrics: Metrics
    limit: RateLimitItemPerMinute
    """Of a client's suggestions."""
    limiter: MovingWindowRateLimiter
    arriving: Arriving = field(default_factory=lambda: Arriving(MOST_ARRIVING_BYTES))

    def served(self) -> Snapshot:
        """What is answered from.

        Raises:
            Refused: nothing is loaded yet.
        """
        if self.renewal.snapshot is None:
            raise later(503, "The models are being loaded.", COME_AGAIN_S)
        return self.renewal.snapshot

    def admit(self, client: str) -> None:
        """Let a client's request for a suggestion in.

        Raises:
            Refused: it asks too often, nothing is loaded yet, or too many wait.
        """
        self.count(client, self.limit, "ask")
        self.served()
        if self.batcher.full():
            raise busy()

    def admit_photo(self, client: str) -> None:
        """Let a client's request for the photo of a sold item in.

        Raises:
            Refused: it asks too often.
        """
        self.count(client, RateLimitItemPerMinute(PHOTOS_A_SUGGESTION * self.limit.amount), "fetch photos")

    def count(self, client: str, limit: RateLimitItemPerMinute, what: str) -> None:
        """Count a client's request of a kind.

        Raises:
            Refused: there are too many.
        """
        if not self.limiter.hit(limit, what, client):
            again = self.limiter.get_window_stats(limit, what, client).reset_time - time()
            raise later(429, f"A client may {what} {limit.amount} times a minute.", max(1, round(again)))


def service_of(request: Request) -> Service:
    """What the request's application was made with."""
    service: Service = request.app.state.service
    return service


async def suggestion_for(request: Request) -> tuple[Offer, Suggestion]:
    """(what a request's form offers, the suggestion for it).

    Raises:
        Refused: there is none.
    """
    service = service_of(request)
    service.admit(request.client.host if request.client else "")
    with service.arriving.taken(bytes_of(request)):
        offer = await offer_in(request)
        answered = await answer_to(service.batcher, offer, request.state.request_id)
    if answered.snapshot.categories.named(offer.category) is None:
        service.metrics.unknown.inc()
    return offer, Suggestion(**told(answered, request, service.metrics))


def busy() -> Refused:
    return later(503, "Too many others wait already: come again in a second.", COME_AGAIN_S)


async def answer_to(batcher: Batcher, offer: Offer, request_id: str) -> Answered:
    """The batcher's answer.

    Raises:
        Refused: there is none, or none in time.
    """
    try:
        future = batcher.submit(offer)
    except QueueFull:
        raise busy() from None
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWERED_WITHIN_S)
    except TimeoutError:
        raise later(503, f"There was no answer within {ANSWERED_WITHIN_S:.0f} s.", COME_AGAIN_S) from None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # its message may have what the seller says in it
        log.error("a suggestion failed", extra={"fields": {"request_id": request_id, **trace(error)}})
        raise Refused(500, "Something did not work; the service's log has a line of it.") from error


def told(answered: Answered, request: Request, metrics: Metrics) -> dict[str, Any]:
    """The answer, counted and logged.

    Raises:
        Refused: the offer cannot be priced.
    """
    milliseconds = {stage: round(1000 * taken, 2) for stage, taken in answered.seconds.items()}
    request.state.log.update(stages_ms=milliseconds, batch=answered.batch)
    result = answered.result
    if not isinstance(result, Suggested):
        raise Refused(503 if isinstance(result, NoChampion) else 422, sentence(result))
    answer = dict(result.answer)
    names = ("inputs", "reason", "model_id", "qualified")
    request.state.log.update({name: answer[name] for name in names})
    metrics.of_answer(answered.seconds, answered.batch, answer["inputs"], answer["reason"])
    return answer


def sentence(error: UserError) -> str:
    """What is wrong, for a person."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
