"""Every table's columns, with units: what is written conforms, and the asset checks hold it to that."""

from collections.abc import Mapping

import dagster as dg
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError, SchemaErrors

UTC = pl.Datetime("us", "UTC")
TEXTS = pl.List(pl.String)
SPLITS = ["train", "validation", "test"]
DECISIONS = ["promoted", "refused", "rolled back"]


def column(
    dtype: pl.DataType | type[pl.DataType],
    description: str,
    *checks: pa.Check,
    null: bool = False,
    unique: bool = False,
) -> pa.Column:
    """A column; `null` says whether it may be missing."""
    return pa.Column(dtype, list(checks), nullable=null, unique=unique, description=description)


def fraction() -> pa.Check:
    return pa.Check.in_range(0, 1)


def table(name: str, columns: Mapping[str, pa.Column], unique: list[str] | None = None) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(dict(columns), name=name, unique=unique, strict=True, ordered=True)


LANDED = {
    "listing_id": column(pl.String, "The listing", null=True),
    "listed_at": column(UTC, "When it went on sale, UTC", null=True),
    "category": column(pl.String, "One label, may be noisy", null=True),
    "image_path": column(pl.String, "The photo, as landed", null=True),
    "price": column(pl.Float64, "Asking price, in the warehouse's currency", null=True),
    "sold_at": column(UTC, "When it was sold, UTC; null while open", null=True),
    "sold_price": column(pl.Float64, "Price at which it was sold; null while open", null=True),
    "currency": column(pl.String, "One per warehouse", null=True),
    "seller_id": column(pl.String, "Who sells it", null=True),
    "brand": column(pl.String, "Brand label", null=True),
    "group_id": column(pl.String, "Listings of one physical item", null=True),
    "attributes": column(TEXTS, "Attribute labels (white, cotton)", null=True),
    "specifications": column(TEXTS, "Specification labels (XL, campus-style)", null=True),
}
LISTED_ON = column(pl.Date, "UTC day of listed_at: the partition")

RAW_LISTINGS = table(
    "raw_listings",
    LANDED
    | {
        "listed_on": column(pl.Date, "UTC day of listed_at, of landing where the row has none: the partition"),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
        "landing_id": column(pl.String, "Hash of the landing it came with"),
        "photo_hash": column(pl.String, "SHA-256 of the photo's bytes; null where there is no good photo", null=True),
        "landing_reasons": column(TEXTS, "Why the row is bad by itself; empty where it is not"),
        "row": column(pl.String, "The row as it came, JSON"),
    },
)
PRICE_BOUNDS = table(
    "price_bounds",
    {
        "lower_price": column(pl.Float64, "Lowest sold price that is kept, money", pa.Check.gt(0), null=True),
        "upper_price": column(pl.Float64, "Highest sold price that is kept, money", pa.Check.gt(0), null=True),
        "train_until": column(pl.Date, "Last listing date of the time split's training days"),
        "validation_until": column(pl.Date, "Last listing date of its validation days"),
        "train_share": column(pl.Float64, "Share of groups in training", fraction()),
        "validation_share": column(pl.Float64, "Share of groups in validation", fraction()),
        "training_sales": column(pl.Int64, "Sold training rows that the bounds were fitted on"),
        "sales": column(pl.Int64, "All sold rows there were then"),
        "fitted_at": column(UTC, "When, UTC"),
    },
)
CLEAN_LISTINGS = table(
    "clean_listings",
    LANDED
    | {
        "listing_id": column(pl.String, "The listing", unique=True),
        "listed_at": column(UTC, "When it went on sale, UTC"),
        "category": column(pl.String, "One label, may be noisy"),
        "image_path": column(pl.String, "The photo, as landed"),
        "price": column(pl.Float64, "Asking price, money", pa.Check.gt(0), null=True),
        "sold_price": column(pl.Float64, "Price at which it was sold, money", pa.Check.gt(0), null=True),
        "listed_on": LISTED_ON,
        "sold_on": column(pl.Date, "UTC day of sold_at", null=True),
        "log_price": column(pl.Float64, "Natural log of the sold price; null while open", null=True),
        "split": column(pl.String, "By hash of the group", pa.Check.isin(SPLITS)),
        "time_split": column(pl.String, "By listing date", pa.Check.isin(SPLITS)),
        "group_key": column(pl.String, "group_id, else the photo's hash: never split"),
        "photo_hash": column(pl.String, "SHA-256 of the photo's bytes"),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
    },
)
QUARANTINED_LISTINGS = table(
    "quarantined_listings",
    {
        "listing_id": column(pl.String, "The listing, where the row has an id", null=True),
        "listed_on": column(pl.Date, "Listing date, the landing day where the row has none"),
        "reasons": column(TEXTS, "Every reason that applies"),
        "row": column(pl.String, "The row exactly as it came, JSON"),
        "landed_at": column(UTC, "When the row landed, UTC"),
        "source_file": column(pl.String, "The file it came in"),
    },
)


def statistics_table(name: str, key: str | None) -> pa.DataFrameSchema:
    """One row per group and day from which its history is different."""
    keyed = {key: column(pl.String, "The group")} if key else {}
    money = {
        moment: column(pl.Float64, f"{moment} of sold prices, money", pa.Check.gt(0))
        for moment in ("q1", "median", "q3", "mean")
    }
    return table(
        name,
        {
            "as_of": column(pl.Date, "In force from this day until the group's next row"),
            **keyed,
            "sales": column(pl.Int64, "Sales with sold_on < as_of", pa.Check.gt(0)),
            **money,
        },
        unique=["as_of", *keyed],
    )


MARKETPLACE_STATISTICS = statistics_table("marketplace_statistics", None)
CATEGORY_STATISTICS = statistics_table("category_statistics", "category")
SELLER_STATISTICS = statistics_table("seller_statistics", "seller_id")
TASK_BACKBONES = table(
    "task_backbones",
    {
        "task": column(pl.String, "The partition", unique=True),
        "backbone_id": column(pl.String, "The artefact", null=True),
        "state": column(pl.String, "trained, or why the task was left out"),
        "labels": column(pl.Int64, "Distinct labels that are learnt"),
        "photos": column(pl.Int64, "Photos that had the label"),
        "loss_by_epoch": column(pl.List(pl.Float64), "Mean training loss of each epoch"),
        "validation_score": column(pl.Float64, "Found labels among held-out photos, 0 to 1", null=True),
        "path": column(pl.String, "Artefact folder under VPS_HOME", null=True),
    },
)
IMAGE_EMBEDDINGS = table(
    "image_embeddings",
    {
        "listing_id": column(pl.String, "The listing", unique=True),
        "listed_on": LISTED_ON,
        "embedding_id": column(pl.String, "Which backbones made it"),
        "path": column(pl.String, "The date's file under VPS_HOME"),
        "row": column(pl.Int64, "Row of the file's matrices", pa.Check.ge(0)),
        "tasks": column(TEXTS, "Tasks in the file"),
        "sharpness": column(pl.Float64, "RMS Laplacian over contrast"),
        "brightness": column(pl.Float64, "Mean luminance, 0 to 1", fraction()),
        "contrast": column(pl.Float64, "Standard deviation of the luminance"),
        "overexposed_share": column(pl.Float64, "Share of pixels at the white end", fraction()),
    },
)
VARIANT = {
    "model_id": column(pl.String, "The model"),
    "constraint_kind": column(pl.String, "Of what", pa.Check.isin(["percentile", "threshold", "baseline"])),
    "constraint_value": column(pl.Float64, "δ, ε, or the coverage a baseline is read at", fraction()),
    "objective": column(pl.String, "paper, cross_fitted, or the baseline's name"),
    "features": column(pl.String, "MSTFE or STFE", pa.Check.isin(["MSTFE", "STFE"])),
    "warm_up": column(pl.Boolean, "Two stages, or stage 2 alone"),
    "split_kind": column(pl.String, "group or time", pa.Check.isin(["group", "time"])),
    "seed": column(pl.Int64, "Seed of initial weights, batches and folds"),
}


def model_table(name: str) -> pa.DataFrameSchema:
    calibration = {
        "logit_shift": column(pl.Float64, "Taken off the gate's logit so that 0.5 is the calibrated cut", null=True),
        "range_low": column(pl.Float64, "Low end of the range, in multiples of the expected error", null=True),
        "range_high": column(pl.Float64, "High end of it", null=True),
        "trained_on": column(pl.Int64, "Training rows", null=True),
        "path": column(pl.String, "Artefact folder under VPS_HOME", null=True),
    }
    return table(name, VARIANT | calibration, unique=["model_id"])


PERCENTILE_PRICING_MODELS = model_table("percentile_pricing_models")
THRESHOLD_PRICING_MODELS = model_table("threshold_pricing_models")
BASELINE_PRICING_MODELS = model_table("baseline_pricing_models")
EVALUATION_PREDICTIONS = table(
    "evaluation_predictions",
    {
        "model_id": column(pl.String, "The model"),
        "listing_id": column(pl.String, "A test listing of the model's split"),
        "log_price": column(pl.Float64, "Natural log of the sold price"),
        "predicted_log_price": column(pl.Float64, "f_reg"),
        "low_log_price": column(pl.Float64, "Low end of the price range, as a log price"),
        "high_log_price": column(pl.Float64, "High end of it"),
        "qualification": column(pl.Float64, "f_cls after calibration", fraction()),
        "qualified": column(pl.Boolean, "qualification >= 0.5"),
        "gate_logit": column(pl.Float64, "Logit of f_cls before calibration"),
    },
    unique=["model_id", "listing_id"],
)
REPORT = {
    "run_id": column(pl.String, "Dagster run"),
    **VARIANT,
    "segment": column(pl.String, "all, or a category"),
    "tested": column(pl.Int64, "Test listings"),
    "qualified": column(pl.Int64, "Of which qualified"),
    "coverage": column(pl.Float64, "Qualified share, with the calibrated gate", fraction()),
    "raw_coverage": column(pl.Float64, "Qualified share with the gate at 0.5 as trained", fraction(), null=True),
    "male": column(pl.Float64, "Mean |ln error| of qualified items; null of none", null=True),
    "rmsle": column(pl.Float64, "Root mean square ln error of qualified items; null of none", null=True),
    "male_of_all": column(pl.Float64, "Mean |ln error| of all tested items"),
    "risk_curve": column(
        pl.List(pl.Float64), "Mean |ln error| of the most qualified 5%, 10%, ... 100%; null without a gate", null=True
    ),
    "male_of_top_half": column(pl.Float64, "Mean |ln error| of the most qualified half: at equal coverage", null=True),
    "range_level": column(pl.Float64, "Nominal coverage of the price range", fraction()),
    "range_coverage": column(pl.Float64, "Share of qualified items sold within their range", fraction(), null=True),
    "range_width": column(pl.Float64, "Mean ln(high / low) of qualified items", null=True),
    "aurc": column(pl.Float64, "Area under the risk-coverage curve, ln units; null without a gate", null=True),
    "evaluated_at": column(UTC, "When, UTC"),
}
EVALUATION_REPORTS = table("evaluation_reports", REPORT, unique=["model_id", "segment"])
ABLATION_REPORTS = table(
    "ablation_reports",
    REPORT | {"ablation": column(pl.String, "Table 4 or 5", pa.Check.isin(["features", "warm_up"]))},
    unique=["model_id", "segment", "ablation"],
)
CHAMPION_MODEL = table(
    "champion_model",
    {
        "model_id": column(pl.String, "The model that prices open listings"),
        "path": column(pl.String, "Artefact folder under VPS_HOME"),
        "challenger_id": column(pl.String, "The model of which this was decided"),
        "instead_of": column(pl.String, "The champion before, where it is another now", null=True),
        "decision": column(pl.String, "What was decided", pa.Check.isin([*DECISIONS, "kept"])),
        "evidence": column(pl.String, "On what figures"),
        "tested": column(pl.Int64, "Test listings that both models judged; null where none were compared", null=True),
        "decided_at": column(UTC, "When, UTC"),
    },
)
CHAMPION_HISTORY = table(
    "champion_history",
    {
        "model_id": column(pl.String, "The model that was judged"),
        "decided_at": column(UTC, "When, UTC"),
        "decision": column(pl.String, "What was decided", pa.Check.isin(DECISIONS)),
        "instead_of": column(pl.String, "The champion that gave way to it", null=True),
        "evidence": column(pl.String, "On what figures"),
        "tested": column(pl.Int64, "Test listings that both models judged; null where none were compared", null=True),
    },
)
CORRUPTION_REPORTS = table(
    "corruption_reports",
    {
        "model_id": column(pl.String, "The champion that judged"),
        "corruption": column(pl.String, "blur, darken or crop"),
        "severity": column(pl.Int64, "0 (the photo as it is) to 4", pa.Check.ge(0)),
        "strength": column(pl.Float64, "As vps_ml.photos.corruptions says; null at severity 0", null=True),
        "photos": column(pl.Int64, "Test photos judged"),
        "qualification": column(pl.Float64, "Mean over the photos", fraction()),
        "qualified_share": column(pl.Float64, "Share at 0.5 and above", fraction()),
        "change": column(pl.Float64, "Mean change of qualification from severity 0"),
        "change_error": column(pl.Float64, "Its standard error over the photos"),
    },
    unique=["corruption", "severity"],
)
PRICE_SUGGESTIONS = table(
    "price_suggestions",
    {
        "listing_id": column(pl.String, "An open listing", unique=True),
        "listed_on": LISTED_ON,
        "suggested_price": column(pl.Float64, "Money; null where the photo is unqualified", pa.Check.gt(0), null=True),
        "low": column(pl.Float64, "Low end of the price range, money", pa.Check.gt(0), null=True),
        "high": column(pl.Float64, "High end of the price range, money", pa.Check.gt(0), null=True),
        "qualification": column(pl.Float64, "0 to 1; qualified at 0.5 and above", fraction()),
        "qualified": column(pl.Boolean, "Good enough to price the item"),
        "reason": column(
            pl.String, "blurred, dark, overexposed or too_little_information; null if qualified", null=True
        ),
        "model_id": column(pl.String, "Which model priced it"),
        "suggested_at": column(UTC, "When, UTC"),
    },
)
TABLES: dict[str, pa.DataFrameSchema] = {
    str(schema.name): schema for schema in list(globals().values()) if isinstance(schema, pa.DataFrameSchema)
}


def types(schema: pa.DataFrameSchema) -> dict[str, pl.DataType]:
    """Column name to polars type, in order."""
    return {name: spec.dtype.type for name, spec in schema.columns.items()}


def faults(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> str | None:
    """What in a frame breaks its schema, in one line; None where nothing does."""
    try:
        schema.validate(frame, lazy=True)
    except (SchemaErrors, SchemaError) as error:
        cases = error.failure_cases
        if not isinstance(cases, pl.DataFrame):
            return str(error)
        shown = cases.group_by("column", "check").agg(pl.len(), pl.first("failure_case")).sort("len", descending=True)
        told = [f"{r['column']}: {r['check']} ({r['len']}, such as {r['failure_case']})" for r in shown.to_dicts()]
        return "; ".join(told[:5])
    return None


def aligned(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> pl.DataFrame:
    """The frame with the schema's columns in its order, nulls in those that older code did not write."""
    wanted = types(schema)
    if not frame.columns:
        return pl.DataFrame(schema=wanted)
    columns = (
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in wanted.items()
    )
    return frame.select(columns)


def conforming(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> pl.DataFrame:
    """The frame with the schema's columns, types and order.

    Raises:
        ValueError: a value breaks the schema; nothing should be written then.
    """
    wanted = types(schema)
    if frame.is_empty() and not frame.columns:
        return pl.DataFrame(schema=wanted)
    typed = frame.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
    wrong = faults(typed, schema)
    if wrong:
        raise ValueError(f"{schema.name} breaks its schema: {wrong}")
    return typed


def column_schema(schema: pa.DataFrameSchema) -> dg.TableSchema:
    """The schema as Dagster shows it."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                str(spec.dtype),
                description=spec.description,
                constraints=dg.TableColumnConstraints(nullable=spec.nullable, unique=spec.unique),
            )
            for name, spec in schema.columns.items()
        ]
    )
