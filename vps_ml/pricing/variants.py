"""Which price models there are: an objective on some features and a split, with a constraint. Data alone."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vps_ml.backbones.tasks import BESIDE_A_PHOTO, WORDS, with_words

COVERAGE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7)
ERROR_TOLERANCES = (0.3, 0.4, 0.5, 0.6, 0.7)
CALIBRATION = ("logit_shift", "range_low", "range_high")
"""Fields of `vps_ml.pricing.calibration.Calibration`, which are columns of the model tables."""
CURVES = "curves"
"""In a model's card: how the losses of its networks went, by network (`vps_ml.training_loop.Curve`)."""
OBJECTIVE_NAMES = ("paper", "cross_fitted", "blended")
"""Those of `vps_ml.pricing.models.OBJECTIVES`, for whatever must not load torch."""
TRAINED_ON: Mapping[str, tuple[str, ...]] = {
    "paper": ("group",),
    "cross_fitted": ("group", "time"),
    "blended": ("group", "time"),
}
"""The splits on which each objective is trained and judged."""
WHOLE = ", the first and the last"
"""End of a claim about a whole series."""
SYMBOLS = {"percentile": "δ", "threshold": "ε"}
SERVED_COVERAGE = 0.7
WORDS_RIVALS = ("boosted_trees", "kernel_machine", "ridge_on_words")
"""Baselines with the same inputs as the models that read words."""
ABLATED_AT = 0.5
"""δ and ε of Tables 4 and 5."""
SERVED: Mapping[str, object] = {
    "objective": "blended",
    "constraint_kind": "percentile",
    "constraint_value": SERVED_COVERAGE,
    "seed": 0,
}
"""The served kind of model: seven sellers in ten get a price, which is the operator's choice of δ."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one model from another on the same rows."""

    constraint_kind: str
    """`percentile`, `threshold` or `baseline`."""
    constraint_value: float
    """δ, ε, or the coverage at which a baseline is read."""
    objective: str
    """`paper` (in-sample errors, jointly), `cross_fitted` (out-of-fold errors), `blended` (the same, beside a kernel
    machine and boosted trees), or the baseline's name."""
    features: str = "MSTFE"
    warm_up: bool = True
    split_kind: str = "group"
    seed: int = 0

    @property
    def nominal_coverage(self) -> float | None:
        """The coverage that calibration aims at; None for threshold models, whose gate stays at 0.5."""
        return {
            "percentile": self.constraint_value,
            "baseline": self.constraint_value,
            "threshold": None,
        }[self.constraint_kind]


def variant_of(row: Mapping[str, object]) -> Variant:
    """The variant that a row of a model table describes."""
    return Variant(**{name: row[name] for name in Variant.__dataclass_fields__})  # type: ignore[arg-type]


def named(kind: Mapping[str, object]) -> str:
    """A kind of model in words, of a variant's values without the seed."""
    words = [kind["objective"], kind["features"]]
    if kind["constraint_kind"] != "baseline":
        words.append(f"{SYMBOLS[str(kind['constraint_kind'])]} = {kind['constraint_value']}")
    return ", ".join(map(str, words)) + ("" if kind["warm_up"] else ", no warm-up")


def model_variants(kind: str, value: float, seeds: int, features: str = "MSTFE") -> tuple[Variant, ...]:
    """The models of one partition: all objectives on the group split, ours on the time split too.

    Args:
        kind: of the constraint.
        value: δ or ε.
        seeds: how many.
        features: of our objectives; the paper's are always MSTFE.
    """
    return tuple(
        Variant(
            constraint_kind=kind,
            constraint_value=value,
            objective=objective,
            features="MSTFE" if objective == "paper" else features,
            split_kind=split,
            seed=seed,
        )
        for seed in range(seeds)
        for objective, splits in TRAINED_ON.items()
        for split in splits
    )


def words_variants(seeds: int, features: str = "MSTFE") -> tuple[Variant, ...]:
    """The models that read what sellers say, alone and beside the photo; and what a user would choose instead.

    Of the served kind, at the served coverage on both splits and at every δ and ε on the split by group; the paper's
    joint objective at 0.5. Beside a photo also with a part of the words, to show what each is worth.

    Args:
        seeds: how many.
        features: of the photo.
    """
    made = []
    for seed in range(seeds):
        parts = [with_words(features, words) for words in BESIDE_A_PHOTO if words != WORDS]
        made += [Variant(**{**SERVED, "seed": seed, "features": seen}) for seen in parts]  # type: ignore[arg-type]
        for seen in (WORDS, with_words(features)):
            at = [("percentile", SERVED_COVERAGE, "blended", split) for split in ("group", "time")]
            at += [("percentile", value, "blended", "group") for value in COVERAGE_TARGETS if value != SERVED_COVERAGE]
            at += [("threshold", value, "blended", "group") for value in ERROR_TOLERANCES]
            at += [(kind, ABLATED_AT, "paper", "group") for kind in ("percentile", "threshold")]
            at += [("baseline", SERVED_COVERAGE, name, split) for name in WORDS_RIVALS for split in ("group", "time")]
            made += [
                Variant(
                    constraint_kind=kind,
                    constraint_value=value,
                    objective=objective,
                    features=seen,
                    split_kind=split,
                    seed=seed,
                )
                for kind, value, objective, split in at
            ]
    return tuple(made)


def ablation_variants(seeds: int, features: Collection[str] = ("MSTFE", "STFE")) -> tuple[Variant, ...]:
    """Tables 4 and 5 at δ = 0.5 and ε = 0.5: STFE or MSTFE, with and without warm-up; and the served kind on each.

    Args:
        seeds: how many.
        features: that there are.
    """
    paper = [
        Variant(
            constraint_kind=kind,
            constraint_value=ABLATED_AT,
            objective="paper",
            seed=seed,
            features=seen,
            warm_up=warm_up,
        )
        for seed in range(seeds)
        for kind in ("percentile", "threshold")
        for seen, warm_up in (("MSTFE", True), ("STFE", True), ("MSTFE", False))
    ]
    served = [
        Variant(
            constraint_kind="percentile",
            constraint_value=SERVED_COVERAGE,
            objective=str(SERVED["objective"]),
            seed=seed,
            features=seen,
        )
        for seed in range(seeds)
        for seen in features
    ]
    return tuple(variant for variant in (*paper, *served) if variant.features in features)
