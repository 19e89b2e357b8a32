"""Which price models there are: an objective on some features and a split, with a constraint. Data alone."""

from collections.abc import Mapping
from dataclasses import dataclass

COVERAGE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7)
ERROR_TOLERANCES = (0.3, 0.4, 0.5, 0.6, 0.7)
CALIBRATION = ("logit_shift", "range_low", "range_high")
"""Fields of `vps_ml.pricing.calibration.Calibration`, which are columns of the model tables."""
SERVED_COVERAGE = 0.7
SERVED: Mapping[str, object] = {
    "objective": "cross_fitted",
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
    """`paper` (in-sample errors, jointly), `cross_fitted` (out-of-fold errors), or the baseline's name."""
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


def model_variants(kind: str, value: float, seeds: int) -> tuple[Variant, ...]:
    """The models of one partition: both objectives on the group split, the served one on the time split too."""
    return tuple(
        Variant(constraint_kind=kind, constraint_value=value, objective=objective, split_kind=split, seed=seed)
        for seed in range(seeds)
        for objective, split in (("paper", "group"), ("cross_fitted", "group"), ("cross_fitted", "time"))
    )


def ablation_variants(seeds: int) -> tuple[Variant, ...]:
    """Tables 4 and 5 at δ = 0.5 and ε = 0.5: STFE or MSTFE, with and without warm-up."""
    return tuple(
        Variant(
            constraint_kind=kind,
            constraint_value=0.5,
            objective="paper",
            seed=seed,
            features=features,
            warm_up=warm_up,
        )
        for seed in range(seeds)
        for kind in ("percentile", "threshold")
        for features, warm_up in (("MSTFE", True), ("STFE", True), ("MSTFE", False))
    )
