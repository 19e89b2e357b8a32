"""The lineage as data: which asset is made from which, in layers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from vps_assets.errors import UserError
from vps_ml.features.tabular import GROUP_OF
from vps_ml.pricing.baselines import BASELINES
from vps_ml.recipes import Recipe


@dataclass(frozen=True)
class Node:
    """One asset."""

    parents: tuple[str, ...] = ()
    partitions: str = "none"
    """A name in `vps_assets.tables.partitions.PARTITIONINGS`."""
    code_version: str = "1"
    """Raise it when the code changes what the table holds: that makes the asset out of date."""
    recipe: Callable[[Recipe], object] = lambda recipe: None
    """The part of the recipe that the asset depends on."""
    kept_as: str | None = None
    """A name in `lineage.retraining.DEFAULT_POLICIES`: the asset is fitted, and then kept until it is named in a run,
    until its policy is due, or until its code, its recipe or one of `fitted_with` changes. None: it is made again
    whenever a parent is."""
    fitted_with: tuple[str, ...] = ()
    """Parents whose content a kept asset depends on; it does not follow the data of the others."""
    follows_confirmation: bool = False
    """Whether it is made again when a parent was made again with the same content."""
    content: tuple[str, ...] = ()
    """Columns that its children depend on; empty if they depend on everything that it was made from."""
    seeded_op: str | None = None
    """The op that takes the number of seeds, for an asset whose models are trained with several."""


STATISTICS = tuple(f"{history}_statistics" for history in GROUP_OF)
PRICED_FROM = ("clean_listings", "image_embeddings", "text_embeddings", *STATISTICS)
"""What the join of all features is made from (`vps_assets.assets.features`)."""
MODELS = ("percentile_pricing_models", "threshold_pricing_models", "baseline_pricing_models")
ABLATIONS = "ablation_pricing_models"
OF_WORDS = "words_pricing_models"


def whole_recipe(recipe: Recipe) -> object:
    return recipe.described()


def baseline_recipe(recipe: Recipe) -> object:
    """The recipe, and each baseline's version: one that is new or changed is out of date, whatever else is."""
    return recipe.described() | {"baselines": {name: baseline.version for name, baseline in BASELINES.items()}}


def price_models(seeded_op: str, partitions: str = "none", recipe: Callable[[Recipe], object] = whole_recipe) -> Node:
    """Price models: kept until sales outgrow them, or the features or the cleaning change."""
    return Node(
        PRICED_FROM,
        partitions,
        code_version="8",
        recipe=recipe,
        kept_as="price_models",
        fitted_with=("price_bounds", "task_backbones"),
        content=("model_id",),
        seeded_op=seeded_op,
    )


INFORMS = {
    "corruption_reports": "2",
    "advice_gains": "1",
    "comparable_reports": "1",
    "sale_chances": "1",
    "sale_reports": "1",
}
"""What only informs -> its code version."""

LAYERS: tuple[Mapping[str, Node], ...] = (
    {"raw_listings": Node(partitions="day")},
    {
        "price_bounds": Node(
            ("raw_listings",),
            recipe=lambda r: (r.price_quantiles, r.train_share, r.validation_share),
            kept_as="backbones",
            content=(
                "lower_price",
                "upper_price",
                "train_until",
                "validation_until",
                "train_share",
                "validation_share",
            ),
        ),
    },
    {
        "clean_listings": Node(("raw_listings", "price_bounds"), "day"),
        "quarantined_listings": Node(("raw_listings", "price_bounds"), "day"),
    },
    {asset: Node(("clean_listings",), code_version="2") for asset in STATISTICS},
    {
        "task_backbones": Node(
            ("clean_listings",),
            "task",
            "3",
            recipe=lambda r: (vars(r.backbone), r.seed, r.pricing.most_sold),
            kept_as="backbones",
            fitted_with=("price_bounds",),
            content=("backbone_id",),
        ),
    },
    {
        "image_embeddings": Node(("clean_listings", "task_backbones"), "day", "2", recipe=lambda r: vars(r.backbone)),
        "text_embeddings": Node(("clean_listings",), "day", recipe=lambda r: r.words.encoder_digest),
    },
    {"percentile_pricing_models": price_models("percentile_job", "coverage_target")},
    {"threshold_pricing_models": price_models("threshold_job", "error_tolerance")},
    {
        "baseline_pricing_models": price_models("baseline_job", recipe=baseline_recipe),
        ABLATIONS: price_models("ablation_job"),
        OF_WORDS: price_models("words_models_job", recipe=baseline_recipe),
        "evaluation_predictions": Node((*PRICED_FROM, *MODELS, ABLATIONS, OF_WORDS), code_version="5"),
        "out_of_bounds_predictions": Node((*PRICED_FROM, "raw_listings", "price_bounds", *MODELS)),
        "evaluation_reports": Node(
            ("clean_listings", "evaluation_predictions", "out_of_bounds_predictions", *MODELS), code_version="3"
        ),
        "ablation_reports": Node(("clean_listings", "evaluation_predictions", ABLATIONS), code_version="4"),
        "words_reports": Node(("clean_listings", "evaluation_predictions", "percentile_pricing_models", OF_WORDS)),
        "model_comparisons": Node(
            ("clean_listings", "evaluation_predictions", *MODELS, ABLATIONS, OF_WORDS), code_version="2"
        ),
        "champion_model": Node(
            (*PRICED_FROM, "evaluation_reports", "words_reports", "model_comparisons", "percentile_pricing_models"),
            code_version="4",
            content=("model_id", "path"),
        ),
        "champion_history": Node(("champion_model",), code_version="3", follows_confirmation=True),
        # Its children follow the champion alone: prices that were suggested are not made anew at each sale.
        "range_adaptation": Node((*PRICED_FROM, "champion_model"), code_version="2", content=("model_id",)),
        "comparable_items": Node((*PRICED_FROM, "champion_model"), content=("model_id",)),
    },
    {
        "price_suggestions": Node((*PRICED_FROM, "champion_model", "range_adaptation"), "day", "3"),
        "suggestion_comparables": Node((*PRICED_FROM, "comparable_items", "price_suggestions"), "day"),
        "suggestion_history": Node(("price_suggestions",), "day"),
    },
    # After the suggestions: what only informs must not hold up what sellers wait for.
    {
        asset: Node(
            (*PRICED_FROM, "champion_model"), "none", version, kept_as="price_models", fitted_with=("champion_model",)
        )
        for asset, version in INFORMS.items()
    }
    | {"suggestion_changes": Node(("price_suggestions", "suggestion_history"))},
)
"""In the order in which they are made. A layer's assets have the same partitions: one Dagster run can make them."""

OF_ALL_DATES = ("splits_are_disjoint", "listing_is_on_one_date")
"""Blocking checks that look at a daily table as a whole; the others look at the dates that a run has written."""

LINEAGE: Mapping[str, Node] = {asset: node for layer in LAYERS for asset, node in layer.items()}


EVERYTHING_FITTED = ",".join(f"{asset}+" for asset, node in LINEAGE.items() if node.kept_as)
"""A selection that fits again whatever is kept, and makes what follows from it: naming an asset forces it."""


@cache
def ancestors(asset: str) -> frozenset[str]:
    """All assets that this one is made from, directly or not."""
    parents = LINEAGE[asset].parents
    return frozenset(parents).union(*(ancestors(parent) for parent in parents))


def selected(selection: str | None) -> set[str]:
    """The assets that `A,B+,+C` names: a `+` before adds everything upstream, a `+` after everything downstream.

    Raises:
        UserError: a name is no asset.
    """
    if selection is None:
        return set(LINEAGE)
    chosen: set[str] = set()
    for term in selection.split(","):
        name = term.strip().strip("+")
        if name not in LINEAGE:
            raise UserError(f"there is no asset {name!r}; there are {', '.join(LINEAGE)}")
        chosen.add(name)
        if term.strip().startswith("+"):
            chosen |= ancestors(name)
        if term.strip().endswith("+"):
            chosen |= {other for other in LINEAGE if name in ancestors(other)}
    return chosen


def named(selection: str | None) -> set[str]:
    """The assets that a selection names themselves, without those that a `+` adds."""
    return {term.strip().strip("+") for term in selection.split(",")} if selection else set()
