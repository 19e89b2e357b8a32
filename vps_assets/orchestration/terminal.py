"""The progress of a run on the terminal: one line per message of an op, without Dagster's own events."""

import logging
import sys
import time

import dagster as dg


class Elapsed(logging.Formatter):
    """Seconds since the process started, the asset or op, and the message."""

    started = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {}) or {}
        step = str(meta.get("step_key") or "").split(".")[0]
        message = meta.get("orig_message") or record.getMessage()
        return f"{time.monotonic() - self.started:7.1f} s  {step:28}  {message}"


def from_op(record: logging.LogRecord) -> bool:
    """Whether an op or asset logged this, not Dagster about a step that it ran or could not run."""
    meta = getattr(record, "dagster_meta", None) or {}
    from_dagster = meta.get("dagster_event") or str(meta.get("orig_message")).startswith("Dependencies for step")
    return not from_dagster


def lines_on_stderr(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger that prints one line per message of an op or asset."""
    logger = logging.Logger("vps", level=logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Elapsed())
    handler.addFilter(from_op)
    logger.addHandler(handler)
    return logger


terminal_logger = dg.LoggerDefinition(lines_on_stderr, description="One line per message of an op or asset.")
