"""Which model each suggestion service answers with, seen from Dagster: asked of the services themselves."""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import dagster as dg

from vps_assets.errors import WrongSetting, one_line
from vps_assets.tables.models import CHAMPION_MODEL
from vps_assets.tables.schemas import aligned
from vps_assets.warehouse.database import Warehouse
from vps_assets.warehouse.file import WarehouseBusy
from vps_assets.warehouse.settings import Settings

NAME, ASSET = "services_sensor", "suggestion_service"
SETTING, KEY = "VPS_SERVICES", "VPS_API_KEY"
TICK_S, ANSWERS_WITHIN_S = 60, 3.0
MOST_BYTES = 1 << 16
LOCK_TIMEOUT_S = 5.0
SERVICE = dg.AssetSpec(
    ASSET,
    deps=["champion_model", "range_adaptation", "comparable_items", "sale_chances", "advice_gains"],
    description="What sellers ask: `vps serve`. An observation each time that a service answers with other models, or "
    f"is not reached; `{SETTING}` names the services.",
    group_name="suggestions",
    kinds={"fastapi"},
    owners=["team:pricing"],
)


def services() -> list[str]:
    """The addresses in `VPS_SERVICES`, such as `http://127.0.0.1:8000`, separated by commas.

    Raises:
        WrongSetting: one is not of HTTP.
    """
    named = [address.strip().rstrip("/") for address in os.environ.get(SETTING, "").split(",") if address.strip()]
    for address in named:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise WrongSetting(f"{SETTING}: {address!r} is not like http://127.0.0.1:8000")
    return named


class NoRedirects(HTTPRedirectHandler):
    """The key is for the service that is named, not for whom it sends us to."""

    def redirect_request(self, *_: Any) -> None:
        """Nowhere."""


OPENER = build_opener(ProxyHandler({}), NoRedirects())  # nor for a proxy


def asked(address: str) -> dict[str, Any]:
    """What a service says of itself; why it says nothing."""
    headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get(KEY)) else {}
    try:
        request = Request(f"{address}/v1/model", headers=headers)  # noqa: S310 (`services` lets HTTP alone in)
        with OPENER.open(request, timeout=ANSWERS_WITHIN_S) as response:
            told = json.loads(read_in_time(response))
        models = {str(inputs): str(model_id) for inputs, model_id in told["models"].items()}
        return {
            "models": models,
            "data_until": text_or_none(told["data_until"]),
            "failure": text_or_none(told["failure"]),
        }
    except (HTTPException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"unreachable": one_line(error)[:200]}


def read_in_time(response: Any) -> bytes:
    """The response's body: `MOST_BYTES` at most, whatever came within `ANSWERS_WITHIN_S`."""
    until, parts = monotonic() + ANSWERS_WITHIN_S, b""
    while (part := response.read1(MOST_BYTES)) and len(parts) < MOST_BYTES and monotonic() < until:
        parts += part
    return parts[:MOST_BYTES]


def text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def in_force(warehouse: Warehouse) -> dict[str, str]:
    """Inputs -> the model that prices by them, by the working tables."""
    rows = warehouse.read("champion_model")
    champions = aligned(rows, CHAMPION_MODEL).to_dicts() if rows is not None else []
    return {row["inputs"] or "photo": row["served_as"] or row["model_id"] for row in champions}


def observation(answers: Mapping[str, Mapping[str, Any]], champions: Mapping[str, str]) -> dg.AssetObservation:
    """What the services answer with, and which of them not with the champions."""
    behind = [
        address
        for address, told in answers.items()
        if any(champions.get(inputs) not in (None, model_id) for inputs, model_id in told.get("models", {}).items())
    ]
    unreached = [address for address, told in answers.items() if "unreachable" in told]
    metadata: dict[str, Any] = {address: dg.MetadataValue.json(dict(told)) for address, told in answers.items()}
    metadata["services"] = len(answers)
    metadata["not with the champions"] = ", ".join(behind) or "none"
    metadata["not reached"] = ", ".join(unreached) or "none"
    return dg.AssetObservation(ASSET, metadata=metadata)


def services_sensor(status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    """The sensor that asks the services."""

    description = f"Asks each service that {SETTING} names which models it answers with, and notes what has changed."

    @dg.sensor(name=NAME, minimum_interval_seconds=TICK_S, default_status=status, description=description)
    def sensor(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
        """Asks each service of `VPS_SERVICES` which models it answers with, and notes what has changed."""
        named = services()
        if not named:
            return dg.SensorResult(skip_reason=f"{SETTING} names no service", cursor=context.cursor)
        answers = {address: asked(address) for address in named}
        try:
            champions = in_force(Warehouse(settings.home, LOCK_TIMEOUT_S))
        except WarehouseBusy:
            return dg.SensorResult(skip_reason="the warehouse is being written", cursor=context.cursor)
        seen = json.dumps([answers, champions], sort_keys=True)
        if seen == context.cursor:
            return dg.SensorResult(skip_reason="all answer as before", cursor=seen)
        return dg.SensorResult(asset_events=[observation(answers, champions)], cursor=seen)

    return sensor
