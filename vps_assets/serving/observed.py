"""What is measured and logged of the service: figures and ids, never a photo, a word or a seller."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
NONE = ""
"""The label of what an answer has not: a priced one has no reason."""


class JsonLines(logging.Formatter):
    """A JSON object a line: `at`, `level`, `message`, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": datetime.fromtimestamp(record.created, UTC).isoformat(), "level": record.levelname.lower()}
        error = record.exc_info[1] if record.exc_info else None
        told = {} if error is None else trace(error)
        return json.dumps(line | {"message": record.getMessage().strip()} | getattr(record, "fields", {}) | told)


def trace(error: BaseException) -> dict[str, str]:
    """An error's kind and the line of ours that it passed last: its message may have what a seller says in it."""
    frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    ours = [frame for frame in frames if "/vps_" in frame]
    return {"error": type(error).__name__, "line": (ours or frames or [""])[-1]}


def log_as_json() -> None:
    """Let all loggers write JSON lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Metrics:
    """Prometheus metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = self.registry
        suggestions = "Suggestions by inputs; the reason is empty of priced ones."
        self.stages = Histogram("vps_stage_seconds", "Of a suggestion.", ["stage"], buckets=SECONDS, registry=kept)
        self.batches = Histogram("vps_batch_offers", "Answered together.", buckets=(1, 2, 4, 8, 16), registry=kept)
        self.waiting = Gauge("vps_waiting_offers", "Offers in the queue.", registry=kept)
        self.suggestions = Counter("vps_suggestions", suggestions, ["inputs", "reason"], registry=kept)
        self.unknown = Counter("vps_unknown_categories", "Offers of categories without a sale.", registry=kept)
        self.responses = Counter("vps_responses", "Responses by status.", ["status"], registry=kept)
        self.data_age = Gauge("vps_data_age_days", "Since the newest sale that is known.", registry=kept)
        self.failed = Gauge("vps_publication_failed", "1: the newest publication cannot be served.", registry=kept)
        self.models = Info("vps_models", "The model that prices, by inputs.", registry=kept)

    def of_answer(self, seconds: Mapping[str, float], batch: int, inputs: str, reason: str | None) -> None:
        """Count a suggestion."""
        for stage, taken in seconds.items():
            self.stages.labels(stage).observe(taken)
        self.batches.observe(batch)
        self.suggestions.labels(inputs, reason or NONE).inc()
