"""The service's routes: a photo and words in, a suggestion out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from time import time
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vps_assets.errors import UserError
from vps_assets.serving.batches import MOST_WAITING, Answered, Batcher, QueueFull
from vps_assets.serving.form import BODY, offer_in
from vps_assets.serving.observed import Metrics
from vps_assets.serving.offers import Offer
from vps_assets.serving.problems import Problem, Refused, problem
from vps_assets.serving.renewal import Renewal
from vps_assets.serving.snapshot import NoChampion, Snapshot, Suggested

ANSWERED_WITHIN_S = 5.0
COME_AGAIN_S = 1
"""Where the queue is full, or nothing is loaded yet."""
log = logging.getLogger("vps")
router = APIRouter()


class Suggestion(BaseModel):
    """A price with its range, or what to do about the photo."""

    qualified: bool
    suggested_price: float | None
    low: float | None
    high: float | None
    currency: str | None
    qualification: float
    inputs: str
    """What it was priced by: photo, words or both."""
    reason: str | None
    model_id: str
    data_until: date | None
    """The newest sale that it knows."""
    advice: str | None = None
    would_help: dict[str, float] | None = None
    """What could be added -> the gain in qualification that others had from it."""


class ServedModel(BaseModel):
    """Which models answer, and from which data."""

    models: dict[str, str]
    data_until: date | None
    loaded_at: datetime | None
    failure: str | None
    """Why the newest publication is not served; null if it is."""


class Health(BaseModel):
    """How the service is."""

    state: str
    failure: str | None = None


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 413, 415, 422, 429, 500, 503)
}


@dataclass(frozen=True)
class Service:
    """What the routes share."""

    renewal: Renewal
    batcher: Batcher
    metrics: Metrics
    limit: RateLimitItemPerMinute
    """Of a client's suggestions."""
    limiter: MovingWindowRateLimiter

    def served(self) -> Snapshot:
        """What is answered from.

        Raises:
            Refused: nothing is loaded yet.
        """
        if self.renewal.snapshot is None:
            raise Refused(503, "The models are being loaded.", COME_AGAIN_S)
        return self.renewal.snapshot

    def admit(self, client: str) -> None:
        """Let a client's request for a suggestion in.

        Raises:
            Refused: it asks too often, nothing is loaded yet, or too many wait.
        """
        if not self.limiter.hit(self.limit, client):
            again = self.limiter.get_window_stats(self.limit, client).reset_time - time()
            raise Refused(429, f"A client may ask {self.limit.amount} times a minute.", max(1, round(again)))
        self.served()
        if self.batcher.full():
            raise busy()


def create_app(renewal: Renewal, metrics: Metrics, requests_a_minute: int) -> FastAPI:
    """The application.

    Args:
        renewal: what it answers from.
        metrics: what it counts.
        requests_a_minute: for suggestions, of a client.
    """
    limit, limiter = RateLimitItemPerMinute(requests_a_minute), MovingWindowRateLimiter(MemoryStorage())
    service = Service(renewal, Batcher(renewal.in_force), metrics, limit, limiter)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        renewal.start()
        yield
        await asyncio.to_thread(service.batcher.close)  # what waits is answered
        await asyncio.to_thread(renewal.close)

    # Without its pages of documentation, which load scripts from elsewhere.
    pages = {"docs_url": None, "redoc_url": None, "openapi_url": "/v1/openapi.json"}
    handlers: Any = {Refused: refused, HTTPException: not_found}
    app = FastAPI(title="Price suggestions", version="1", lifespan=lifespan, exception_handlers=handlers, **pages)  # type: ignore[arg-type]
    app.state.service = service
    app.include_router(router)
    return app


def service_of(request: Request) -> Service:
    """What the request's application was made with."""
    service: Service = request.app.state.service
    return service


async def refused(request: Request, error: Refused) -> Response:
    return problem(error.status, error.detail, request.state.request_id, error.headers)


async def not_found(request: Request, error: HTTPException) -> Response:
    return problem(error.status_code, f"{error.detail}.", request.state.request_id, error.headers)


@router.post("/v1/suggestions", openapi_extra=BODY, responses=PROBLEMS)
async def suggestions(request: Request) -> Suggestion:
    """Suggest a price by a photo, by what the seller says, or by both."""
    service = service_of(request)
    service.admit(request.client.host if request.client else "")
    offer = await offer_in(request)
    answered = await answer_to(service.batcher, offer)
    if not answered.snapshot.knows(offer.category):
        service.metrics.unknown.inc()
    return Suggestion(**told(answered, request, service.metrics))


@router.get("/v1/model", responses={503: PROBLEMS[503]})
async def model(request: Request) -> ServedModel:
    """Which models answer, and from which data."""
    renewal, served = service_of(request).renewal, service_of(request).served()
    return ServedModel(
        models=served.model_ids(), data_until=served.data_until, loaded_at=renewal.loaded_at, failure=renewal.failure
    )


@router.get("/v1/health/live")
async def live() -> Health:
    """Whether the process answers."""
    return Health(state="live")


@router.get("/v1/health/ready", responses={503: {"model": Health}})
async def ready(request: Request, response: Response) -> Health:
    """Whether suggestions are answered: 503 until the models are loaded and warm."""
    renewal = service_of(request).renewal
    is_ready = renewal.snapshot is not None
    response.status_code = 200 if is_ready else 503
    return Health(state="ready" if is_ready else "loading", failure=renewal.failure)


@router.get("/metrics", response_class=Response)
async def of_metrics(request: Request) -> Response:
    """For Prometheus."""
    service = service_of(request)
    metrics, served = service.metrics, service.renewal.snapshot
    metrics.waiting.set(service.batcher.waiting.qsize())
    metrics.failed.set(service.renewal.failure is not None)
    if served is not None:
        metrics.models.info(served.model_ids())
        if served.data_until is not None:
            metrics.data_age.set((datetime.now(UTC).date() - served.data_until).days)
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def busy() -> Refused:
    return Refused(503, f"{MOST_WAITING} others wait already: come again in a second.", COME_AGAIN_S)


async def answer_to(batcher: Batcher, offer: Offer) -> Answered:
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
        raise Refused(503, f"There was no answer within {ANSWERED_WITHIN_S:.0f} s.", COME_AGAIN_S) from None
    except Exception as error:  # its message may have what the seller says in it
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = None if where is None else f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
        log.error("a suggestion failed", extra={"fields": {"error": type(error).__name__, "line": line}})
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
