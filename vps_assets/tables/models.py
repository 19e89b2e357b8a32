"""The tables of backbones, embeddings, price models, their evaluation, and suggestions."""

import pandera.polars as pa
import polars as pl

from vps_assets.tables.columns import TEXTS, UTC, column, fraction, table
from vps_assets.tables.listings import LISTED_ON
from vps_ml.backbones.tasks import INPUTS, VISUAL_TASKS
from vps_ml.features.unchanged import MADE_FROM

DECISIONS = ["promoted", "refused", "rolled back"]

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
TEXT_EMBEDDINGS = table(
    "text_embeddings",
    {
        "listing_id": column(pl.String, "The listing", unique=True),
        "listed_on": LISTED_ON,
        "text_id": column(pl.String, "How the words were read"),
        "path": column(pl.String, "The date's file under VPS_HOME"),
        "row": column(pl.Int64, "Row of the file's matrices", pa.Check.ge(0)),
        "words": column(pl.Int64, "Of title and description; 0 without any", pa.Check.ge(0)),
        "price_masked": column(pl.Boolean, "Whether a price stood in them, which no model sees"),
    },
)
VARIANT = {
    "model_id": column(pl.String, "The model"),
    "constraint_kind": column(pl.String, "Of what", pa.Check.isin(["percentile", "threshold", "baseline"])),
    "constraint_value": column(pl.Float64, "δ, ε, or the coverage a baseline is read at", fraction()),
    "objective": column(pl.String, "paper, cross_fitted, blended, or the baseline's name"),
    "features": column(
        pl.String, "What is seen: of the photo, what the seller says, or both", pa.Check.isin(list(VISUAL_TASKS))
    ),
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
ABLATION_PRICING_MODELS = model_table("ablation_pricing_models")
WORDS_PRICING_MODELS = model_table("words_pricing_models")
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
        MADE_FROM: column(
            pl.UInt64,
            "Hash of its inputs: with equal ones it is kept; null: as older versions wrote it",
            null=True,
        ),
    },
    unique=["model_id", "listing_id"],
)
OUT_OF_BOUNDS_PREDICTIONS = table(
    "out_of_bounds_predictions",
    {
        "model_id": column(pl.String, "The model"),
        "listing_id": column(pl.String, "A test listing of the model's split, but for its price"),
        "split_kind": column(pl.String, "group or time", pa.Check.isin(["group", "time"])),
        "log_price": column(pl.Float64, "Natural log of the sold price"),
        "predicted_log_price": column(pl.Float64, "f_reg"),
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
    "male_of_landed": column(
        pl.Float64, "The same with test listings whose price cleaning took out; null of a category", null=True
    ),
    "out_of_bounds": column(pl.Int64, "How many these are; null of a category", null=True),
    "risk_curve": column(
        pl.List(pl.Float64), "Mean |ln error| of the most qualified 5%, 10%, ... 100%; null without a gate", null=True
    ),
    "male_of_top_half": column(pl.Float64, "Mean |ln error| of the most qualified half: at equal coverage", null=True),
    "range_level": column(pl.Float64, "Nominal coverage of the price range", fraction()),
    "range_coverage": column(pl.Float64, "Share of qualified items sold within their range", fraction(), null=True),
    "range_width": column(pl.Float64, "Mean ln(high / low) of qualified items", null=True),
    "aurc": column(pl.Float64, "Area under the risk-coverage curve, ln units; null without a gate", null=True),
    **{
        f"{name}_{end}": column(pl.Float64, f"{end.capitalize()} end of {name} over other draws of listings", null=True)
        for name in ("male", "rmsle", "aurc", "range_coverage")
        for end in ("low", "high")
    },
    "evaluated_at": column(UTC, "When, UTC"),
}
EVALUATION_REPORTS = table("evaluation_reports", REPORT, unique=["model_id", "segment"])
ABLATION_REPORTS = table(
    "ablation_reports",
    {name: spec for name, spec in REPORT.items() if name not in ("male_of_landed", "out_of_bounds")}
    | {"ablation": column(pl.String, "Table 4 or 5, or tuning", pa.Check.isin(["features", "warm_up", "tuning"]))},
    unique=["model_id", "segment", "ablation"],
)
WORDS_REPORTS = table(
    "words_reports",
    {name: spec for name, spec in REPORT.items() if name not in ("male_of_landed", "out_of_bounds")}
    | {
        "inputs": column(pl.String, "What the model prices by", pa.Check.isin(list(INPUTS))),
        "refused_by_photo": column(pl.Int64, "Of the tested, those that the photo alone could not price", null=True),
        "priced_of_these": column(
            pl.Float64, "Share of them that would be priced were as many qualified as keep the photo's error", null=True
        ),
        "gained": column(pl.Int64, "How many of them the model's own gate prices", null=True),
        "lost": column(pl.Int64, "Listings that the photo alone prices and the model's own gate refuses", null=True),
        "by_words": column(pl.Int64, "Listings that it and the photo alone refuse, and words alone price", null=True),
        "by_words_male": column(pl.Float64, "Mean |predicted - actual log price| of these by words alone", null=True),
        "by_words_in_range": column(pl.Float64, "Share of these that sold within their range", null=True),
    },
    unique=["model_id", "segment"],
)
MODEL_COMPARISONS = table(
    "model_comparisons",
    {
        "family": column(pl.String, "Claims whose intervals hold at once, by each metric"),
        "claim": column(pl.String, "That the first model has less error than the second"),
        "split_kind": column(pl.String, "group or time", pa.Check.isin(["group", "time"])),
        "metric": column(pl.String, "aurc, male_of_all, or male_at_ a coverage that both are read at"),
        "model": column(pl.String, "The first kind of model"),
        "against": column(pl.String, "The second"),
        "baseline": column(pl.Boolean, "Whether the second is what a user would choose instead"),
        "model_ids": column(TEXTS, "The first kind's models, one a seed"),
        "against_ids": column(TEXTS, "The second's"),
        "value": column(pl.Float64, "The metric of the first, mean over seeds, ln units"),
        "against_value": column(pl.Float64, "The metric of the second"),
        "difference": column(pl.Float64, "First less second: negative if the first has less error"),
        "low": column(pl.Float64, "2.5% of draws of groups and seeds are below: this comparison by itself"),
        "high": column(pl.Float64, "2.5% are above"),
        "family_low": column(pl.Float64, "Low end of an interval that holds for the family by this metric (max-t)"),
        "family_high": column(pl.Float64, "High end of it"),
        "tested": column(pl.Int64, "Test listings", pa.Check.gt(0)),
        "groups": column(pl.Int64, "Groups of them, which are what is drawn", pa.Check.gt(0)),
        "seeds": column(pl.Int64, "Seeds that the models were trained with", pa.Check.gt(0)),
        "verdict": column(pl.String, "By the family's interval", pa.Check.isin(["yes", "no", "cannot tell"])),
    },
    unique=["family", "claim", "model", "against", "metric"],
)
CHAMPION_MODEL = table(
    "champion_model",
    {
        "inputs": column(pl.String, "What it prices by; it has a row each", pa.Check.isin(list(INPUTS)), unique=True),
        "model_id": column(pl.String, "The champion, as it was judged"),
        "served_as": column(
            pl.String, "Its refit on nine tenths of all sold listings, which prices; null: the champion", null=True
        ),
        "path": column(pl.String, "Artefact folder under VPS_HOME of the model that prices"),
        "challenger_id": column(pl.String, "The model of which this was decided"),
        "instead_of": column(pl.String, "The champion before, where it is another now", null=True),
        "decision": column(pl.String, "What was decided", pa.Check.isin([*DECISIONS, "kept"])),
        "evidence": column(pl.String, "On what figures"),
        "tested": column(pl.Int64, "Test listings that both models judged; null if none were compared", null=True),
        "decided_at": column(UTC, "When, UTC"),
    },
)
CHAMPION_HISTORY = table(
    "champion_history",
    {
        "inputs": column(pl.String, "What the model prices by", pa.Check.isin(list(INPUTS))),
        "model_id": column(pl.String, "The model that was judged"),
        "decided_at": column(UTC, "When, UTC"),
        "decision": column(pl.String, "What was decided", pa.Check.isin(DECISIONS)),
        "instead_of": column(pl.String, "The champion that gave way to it", null=True),
        "served_as": column(
            pl.String, "Its refit on nine tenths of all sold listings, where it was promoted", null=True
        ),
        "evidence": column(pl.String, "On what figures"),
        "tested": column(pl.Int64, "Test listings that both models judged; null if none were compared", null=True),
    },
)
SINCE_LOWEST = "from the milder severity at which that was lowest; null at severity 0"
CORRUPTION_REPORTS = table(
    "corruption_reports",
    {
        "model_id": column(pl.String, "The champion that judged"),
        "corruption": column(pl.String, "blur, darken, crop, or their average, photo by photo"),
        "severity": column(pl.Int64, "0 (the photo as it is) to 4", pa.Check.ge(0)),
        "strength": column(
            pl.Float64, "See vps_ml.photos.corruptions; null at severity 0 and of the average", null=True
        ),
        "photos": column(pl.Int64, "Test photos judged"),
        "qualification": column(pl.Float64, "Mean over the photos", fraction()),
        "qualified_share": column(pl.Float64, "Share at 0.5 and above", fraction()),
        "change": column(pl.Float64, "Mean change of qualification from severity 0"),
        "change_error": column(pl.Float64, "Its standard error over the photos"),
        "rise": column(pl.Float64, f"Mean change of qualification {SINCE_LOWEST}", null=True),
        "rise_error": column(pl.Float64, "Its standard error over the photos", null=True),
        "share_change": column(pl.Float64, "Change of qualified_share from severity 0"),
        "share_change_error": column(pl.Float64, "Its standard error over the photos"),
        "share_rise": column(pl.Float64, f"Change of qualified_share {SINCE_LOWEST}", null=True),
        "share_rise_error": column(pl.Float64, "Its standard error over the photos", null=True),
    },
    unique=["corruption", "severity"],
)
ADVICE_GAINS = table(
    "advice_gains",
    {
        "piece": column(pl.String, "title, brand, condition, photo, or sharper photo"),
        "inputs": column(pl.String, "What the listings were priced by without it", pa.Check.isin(list(INPUTS))),
        "refused": column(pl.Int64, "Test listings refused without it", pa.Check.gt(0)),
        "priced_share": column(
            pl.Float64,
            "Share of these priced with it, less those that its model prices without it too: below 0 where it harms",
        ),
        "gain": column(pl.Float64, "Mean gain in qualification of these"),
        "gain_error": column(pl.Float64, "Its standard error over the listings"),
    },
    unique=["piece", "inputs"],
)
RANGE_ADAPTATION = table(
    "range_adaptation",
    {
        "model_id": column(pl.String, "The champion as it was judged, or its refit"),
        "as_of": column(pl.Date, "Listing day; the newest of the model that prices is the state that prices now"),
        "segment": column(pl.String, "all, or a category"),
        "miss_rate": column(pl.Float64, "Share of ranges that may miss, for the day's listings", fraction()),
        "learnt_from": column(pl.Int64, "Sold listings that it was learnt from", pa.Check.ge(0)),
        "tested": column(pl.Int64, "The day's qualified listings that have sold", pa.Check.ge(0)),
        "covered": column(pl.Int64, "Of these, sold within their range", pa.Check.ge(0)),
        "covered_static": column(pl.Int64, "Of these, within the range as first calibrated", pa.Check.ge(0)),
        "range_level": column(pl.Float64, "Nominal coverage of the price range", fraction()),
    },
    unique=["model_id", "as_of", "segment"],
)
