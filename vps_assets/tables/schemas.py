"""Every table by name, and what it means for rows to conform to a schema."""

from collections.abc import Mapping

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError, SchemaErrors

from vps_assets.tables import listings, models, sales, suggestions
from vps_ml.backbones.tasks import LabelKind, Task

TABLES: dict[str, pa.DataFrameSchema] = {
    str(schema.name): schema
    for module in (listings, models, sales, suggestions)
    for schema in vars(module).values()
    if isinstance(schema, pa.DataFrameSchema)
}
"""Table -> schema, of the schemas in these modules."""


LABEL_TYPES: Mapping[LabelKind, pl.DataType] = {
    LabelKind.SINGLE: pl.String(),
    LabelKind.MULTIPLE: pl.List(pl.String()),
    LabelKind.VALUE: pl.Float64(),
}


def check_labels(tasks: Mapping[str, Task]) -> None:
    """Whether `clean_listings` has every task's label, of its kind.

    Raises:
        ValueError: it has not; trained anyway, the letters of a text would be its labels.
    """
    columns = types(listings.CLEAN_LISTINGS)
    for name, task in tasks.items():
        expected, found = LABEL_TYPES[task.kind], columns.get(task.label)
        if found != expected:
            raise ValueError(f"task {name}: {task.kind.value} is of type {expected}, {task.label!r} is {found}")


def types(schema: pa.DataFrameSchema) -> dict[str, pl.DataType]:
    """Column name to polars type, in order."""
    return {name: spec.dtype.type for name, spec in schema.columns.items()}


def faults(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> str | None:
    """What in a frame breaks its schema, in one line; None if nothing does."""
    try:
        schema.validate(frame, lazy=True)
    except (SchemaErrors, SchemaError) as error:
        cases = error.failure_cases
        if not isinstance(cases, pl.DataFrame):
            return str(error)
        shown = cases.group_by("column", "check").agg(pl.len(), pl.first("failure_case")).sort("len", descending=True)
        lines = [f"{r['column']}: {r['check']} ({r['len']}, such as {r['failure_case']})" for r in shown.to_dicts()]
        return "; ".join(lines[:5])
    return None


def aligned(frame: pl.DataFrame | None, schema: pa.DataFrameSchema) -> pl.DataFrame:
    """The frame with the schema's columns in its order, empty if there is none; columns that it lacks are null."""
    expected = types(schema)
    if frame is None or not frame.columns:
        return pl.DataFrame(schema=expected)
    columns = (
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in expected.items()
    )
    return frame.select(columns)


def conforming(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> pl.DataFrame:
    """The frame with the schema's columns, types and order.

    Raises:
        ValueError: a value breaks the schema; nothing should be written then.
    """
    expected = types(schema)
    if frame.is_empty() and not frame.columns:
        return pl.DataFrame(schema=expected)
    typed = frame.select(pl.col(name).cast(dtype) for name, dtype in expected.items())
    wrong = faults(typed, schema)
    if wrong:
        raise ValueError(f"{schema.name} breaks its schema: {wrong}")
    return typed
