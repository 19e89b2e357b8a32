"""Which columns a table's columns are made from, where that is simple to tell: as the Dagster catalogue draws it."""

from collections.abc import Mapping

from vps_assets.tables.schemas import TABLES
from vps_ml.features.tabular import GROUP_OF

Source = tuple[str, str]
"""(table, column)."""

TAKEN_FROM: Mapping[str, tuple[str, ...]] = {
    "clean_listings": ("raw_listings",),
    "quarantined_listings": ("raw_listings",),
    "image_embeddings": ("clean_listings",),
    "text_embeddings": ("clean_listings",),
    "evaluation_predictions": (
        "clean_listings",
        *(f"{kind}_pricing_models" for kind in ("percentile", "threshold", "baseline", "ablation", "words")),
    ),
    "champion_history": ("champion_model",),
    "price_suggestions": ("clean_listings",),
    "suggestion_comparables": ("price_suggestions",),
    "suggestion_history": ("price_suggestions",),
    "suggestion_changes": ("price_suggestions",),
}
"""Table -> tables whose columns of the same name it has as they are."""
SALES = (("clean_listings", "sold_price"), ("clean_listings", "sold_on"))
COMPUTED: Mapping[str, Mapping[str, tuple[Source, ...]]] = {
    "price_bounds": {name: (("raw_listings", "sold_price"),) for name in ("lower_price", "upper_price")},
    "clean_listings": {
        "log_price": (("raw_listings", "sold_price"),),
        "sold_on": (("raw_listings", "sold_at"),),
        "group_key": (("raw_listings", "group_id"), ("raw_listings", "photo_hash")),
        "photo_path": (("raw_listings", "photo_hash"),),
        "split": (("raw_listings", "group_id"), ("raw_listings", "photo_hash")),
        "time_split": (
            ("raw_listings", "listed_on"),
            *(("price_bounds", f"{part}_until") for part in ("train", "validation")),
        ),
    },
    "quarantined_listings": {
        "reasons": (("raw_listings", "landing_reasons"), ("raw_listings", "sold_price")),
    },
    "suggestion_comparables": {
        "comparable_id": (("clean_listings", "listing_id"),),
        "sold_price": (("clean_listings", "sold_price"),),
        "sold_on": (("clean_listings", "sold_on"),),
        "photo_hash": (("clean_listings", "photo_hash"),),
        "group_key": (("clean_listings", "group_key"),),
        "category": (("clean_listings", "category"),),
    },
    "suggestion_history": {"suggested_on": (("price_suggestions", "suggested_at"),)},
    "suggestion_changes": {
        **{
            f"{name}_before": (("suggestion_history", name),)
            for name in ("model_id", "qualified", "suggested_price", "suggested_at")
        },
        "log_change": (("price_suggestions", "suggested_price"), ("suggestion_history", "suggested_price")),
    },
    "price_suggestions": {
        "model_id": (("champion_model", "served_as"), ("champion_model", "model_id")),
    },
    **{f"{history}_statistics": dict.fromkeys(("sales", "q1", "median", "q3", "mean"), SALES) for history in GROUP_OF},
}


def column_lineage(table: str) -> dict[str, tuple[Source, ...]]:
    """Column -> the columns that it is made from, of those that are told."""
    columns = TABLES[table].columns
    same = {
        name: tuple((parent, name) for parent in TAKEN_FROM.get(table, ()) if name in TABLES[parent].columns)
        for name in columns
    }
    return {name: found for name in columns if (found := COMPUTED.get(table, {}).get(name, same[name]))}
