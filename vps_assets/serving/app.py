"""The service's routes for programs: a photo and words in, a suggestion out; and the application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vps_assets.serving import pages
from vps_assets.serving.batches import Batcher
from vps_assets.serving.form import BODY
from vps_assets.serving.observed import Metrics
from vps_assets.serving.photos import Shrinkers, photo_for
from vps_assets.serving.problems import Problem, Refused, problem
from vps_assets.serving.renewal import Renewal
from vps_assets.serving.service import Service, Suggestion, service_of, suggestion_for

router = APIRouter()


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
        app.state.shrinkers.close()

    # Without its pages of documentation, which load scripts from elsewhere.
    routes = {"docs_url": None, "redoc_url": None, "openapi_url": "/v1/openapi.json", "redirect_slashes": False}
    handlers: Any = {Refused: refused, HTTPException: not_found}
    app = FastAPI(title="Price suggestions", version="1", lifespan=lifespan, exception_handlers=handlers, **routes)  # type: ignore[arg-type]
    app.state.service, app.state.shrinkers = service, Shrinkers()
    app.include_router(router)
    app.include_router(pages.router)
    return app


async def refused(request: Request, error: Refused) -> Response:
    return problem(error.status, error.detail, request.state.request_id, error.headers)


async def not_found(request: Request, error: HTTPException) -> Response:
    return problem(error.status_code, f"{str(error.detail).rstrip('.')}.", request.state.request_id, error.headers)


@router.post("/v1/suggestions", openapi_extra=BODY, responses=PROBLEMS, response_model_exclude_unset=True)
async def suggestions(request: Request) -> Suggestion:
    """Suggest a price by a photo, by what the seller says, or by both."""
    _, suggestion = await suggestion_for(request)
    return suggestion


@router.get("/v1/photos/{photo_hash}", response_class=Response, responses={404: {"model": Problem}})
async def photo(photo_hash: str, request: Request) -> Response:
    """The photo of a sold item that a suggestion has shown, small."""
    return Response(await photo_for(request, photo_hash), media_type="image/jpeg")


@router.get("/v1/model", responses={503: PROBLEMS[503]})
async def model(request: Request) -> ServedModel:
    """Which models answer, and from which data."""
    renewal, served = service_of(request).renewal, service_of(request).served()
    return ServedModel(
        models=served.champions.model_ids(),
        data_until=served.data_until,
        loaded_at=renewal.loaded_at,
        failure=renewal.failure,
    )


@router.get("/v1/health/live", responses={503: {"model": Health}})
async def live(request: Request, response: Response) -> Health:
    """Whether the process answers, and the thread that answers suggestions lives."""
    lives = service_of(request).batcher.thread.is_alive()
    response.status_code = 200 if lives else 503
    return Health(state="live" if lives else "dead")


@router.get("/v1/health/ready", responses={503: {"model": Health}})
async def ready(request: Request, response: Response) -> Health:
    """Whether suggestions are answered: 503 until the models are loaded and warm."""
    renewal, batcher = service_of(request).renewal, service_of(request).batcher
    is_ready = renewal.snapshot is not None and batcher.thread.is_alive()
    response.status_code = 200 if is_ready else 503
    failure = None if renewal.failure is None else "The newest publication cannot be served: /v1/model says why."
    if not renewal.looks():
        failure = "New publications are not looked for any more: restart."
    return Health(state="ready" if is_ready else "loading", failure=failure)


@router.get("/metrics", response_class=Response)
async def of_metrics(request: Request) -> Response:
    """For Prometheus."""
    service = service_of(request)
    metrics, served = service.metrics, service.renewal.snapshot
    metrics.waiting.set(service.batcher.waiting.qsize())
    metrics.failed.set(service.renewal.failure is not None)
    if served is not None:
        metrics.models.info(served.champions.model_ids())
        if served.data_until is not None:
            metrics.data_age.set((datetime.now(UTC).date() - served.data_until).days)
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
