"""Which model is better, and whether another draw of listings would say so too."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import dagster as dg
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from vps_assets.assets.evaluation import ITEMS, each_once, variants_of
from vps_assets.assets.options import table_options
from vps_ml.backbones.tasks import BESIDE_A_PHOTO, can_serve, inputs_of, sees_words
from vps_ml.evaluation.resampling import (
    AT_ITS_COVERAGE,
    CANNOT_TELL,
    COMPARED,
    LEVEL,
    METRICS,
    Draws,
    Judged,
    Metric,
    Resampled,
    all_resampled,
    difference,
    male_at_coverage,
    numbered,
    simultaneous,
    verdict,
)
from vps_ml.pricing.baselines import is_gated
from vps_ml.pricing.variants import (
    ABLATED_AT,
    COVERAGE_TARGETS,
    ERROR_TOLERANCES,
    OBJECTIVE_NAMES,
    SERVED,
    SERVED_COVERAGE,
    SYMBOLS,
    WHOLE,
    Variant,
    named,
)

KIND = [name for name in Variant.__dataclass_fields__ if name != "seed"]
"""What models of several seeds have in common."""


FEWEST_GROUPS = 30
"""On fewer a bootstrap's intervals are too narrow (a tenth of them and more miss), so that nothing can be told."""


@dataclass(frozen=True)
class Claim:
    """That one kind of model has less error than another on the test rows of a split."""

    family: str
    """Claims that are judged together: by each metric, their intervals hold at once."""
    claim: str
    first: dict[str, object]
    """The values of `KIND`, of both."""
    second: dict[str, object]
    metrics: tuple[str, ...] = COMPARED


def claims(kinds: Sequence[dict[str, object]]) -> Iterator[Claim]:
    """What the report claims of these kinds of models: the served one against every rival, ablations, shapes."""
    yield from words_claims([kind for kind in kinds if kind["constraint_value"] == SERVED_COVERAGE])
    kinds = [kind for kind in kinds if not sees_words(str(kind["features"]))]
    yield from served_claims(kinds)
    yield from ablation_claims(kinds)
    for objective in OBJECTIVE_NAMES:
        yield from rising(kinds, objective, "percentile", COVERAGE_TARGETS, "MALE", "male")
        yield from rising(kinds, objective, "threshold", ERROR_TOLERANCES, "coverage", "coverage")


def served_claims(kinds: Sequence[dict[str, object]]) -> Iterator[Claim]:
    """The served kind of model against every rival that is read at its coverage, on both splits."""
    for split in ("group", "time"):
        served = next((kind for kind in kinds if is_served(kind) and kind["split_kind"] == split), None)
        if served is None:
            continue
        for rival in kinds:
            if rival["split_kind"] == split and rival != served and is_rival(rival):
                name = f"{rival['objective']} on {rival['features']}" if same_objective(rival) else rival["objective"]
                claim = f"{SERVED['objective']} beats {name}"
                yield Claim(f"served, {split}", claim, served, rival, (*COMPARED, AT_ITS_COVERAGE))


def words_claims(kinds: Sequence[dict[str, object]]) -> Iterator[Claim]:
    """That words beside the photo beat each of the two alone, and models of words the rivals with the same inputs."""
    for split in ("group", "time"):
        mine = [kind for kind in kinds if kind["split_kind"] == split and same_objective(kind)]
        mine = [kind for kind in mine if kind["constraint_kind"] == SERVED["constraint_kind"]]
        yield from parts_claims([kind for kind in mine if sees_words(str(kind["features"]))], split)
        mine = [kind for kind in mine if can_serve(str(kind["features"]))]
        by_inputs: dict[str, dict[str, object]] = {}
        for kind in mine:
            by_inputs.setdefault(inputs_of(str(kind["features"])), kind)  # ablations come last
        for first, second in (("both", "photo"), ("both", "words"), ("words", "photo")):
            if first in by_inputs and second in by_inputs:
                yield Claim(f"words, {split}", f"{first} beats {second}", by_inputs[first], by_inputs[second])
        for inputs in ("words", "both"):
            for rival in kinds:
                same = inputs in by_inputs and rival["features"] == by_inputs[inputs]["features"]
                if same and rival["split_kind"] == split and rival["constraint_kind"] == "baseline":
                    claim = f"{inputs} beats {rival['objective']} on {inputs}"
                    yield Claim(f"words, {split}", claim, by_inputs[inputs], rival)


def parts_claims(kinds: Sequence[dict[str, object]], split: str) -> Iterator[Claim]:
    """That each further part of the words beside the photo lowers the error."""
    beside = {name: kind for kind in kinds for name in BESIDE_A_PHOTO if str(kind["features"]).endswith(f"+{name}")}
    for less, more in pairwise(BESIDE_A_PHOTO):
        if less in beside and more in beside:
            yield Claim(f"words, {split}", f"photo+{more} beats photo+{less}", beside[more], beside[less])


def ablation_claims(kinds: Sequence[dict[str, object]]) -> Iterator[Claim]:
    """Tables 4 and 5: two models that differ in one thing."""
    for first in kinds:
        for second in kinds:
            if not at_ablation(first) or not at_ablation(second):
                continue
            differ = {name for name in KIND if first[name] != second[name]}
            about = f"{first['objective']}, {first['constraint_kind']}"
            if differ == {"features"} and first["features"] == "MSTFE" and second["features"] == "STFE":
                yield Claim("ablations", f"MSTFE beats STFE ({about})", first, second)
            if differ == {"warm_up"} and first["warm_up"]:
                yield Claim("ablations", f"warm-up beats none ({about})", first, second)


def rising(
    kinds: Sequence[dict[str, object]], objective: str, constraint: str, values: Sequence[float], what: str, metric: str
) -> Iterator[Claim]:
    """That a figure rises from each δ or ε to the next, and from the first to the last."""
    of_value: dict[object, dict[str, object]] = {}
    for kind in kinds:
        if (kind["objective"], kind["constraint_kind"], kind["split_kind"]) == (objective, constraint, "group"):
            of_value.setdefault(kind["constraint_value"], kind)  # ablations come last
    if set(values) - set(of_value):
        return
    symbol = SYMBOLS[constraint]
    for low, high in [*pairwise(values), (values[0], values[-1])]:
        whole = WHOLE if (low, high) == (values[0], values[-1]) else ""
        claim = f"{objective}: {what} at {symbol} = {low} is below that at {symbol} = {high}{whole}"
        yield Claim("shapes", claim, of_value[low], of_value[high], (metric,))


def is_served(kind: dict[str, object]) -> bool:
    """Whether these models are of the kind that is served where there is a photo alone."""
    own = all(kind[name] == value for name, value in SERVED.items() if name in KIND)
    return own and not sees_words(str(kind["features"]))


def same_objective(kind: dict[str, object]) -> bool:
    """Whether these models differ from the served kind by their features alone."""
    return kind["objective"] == SERVED["objective"]


def is_rival(kind: dict[str, object]) -> bool:
    """Whether these models are read at the served coverage; a baseline without a gate, at its only one."""
    if not is_gated(str(kind["constraint_kind"]), str(kind["objective"])):
        return True
    return kind["constraint_kind"] != "threshold" and kind["constraint_value"] == SERVED_COVERAGE


def at_ablation(kind: dict[str, object]) -> bool:
    """Whether these models may be part of Tables 4 and 5."""
    return kind["constraint_value"] == ABLATED_AT and kind["split_kind"] == "group" and kind["objective"] == "paper"


@dataclass(frozen=True)
class Figures:
    """The models of one kind, one a seed, and their metrics on the split's test rows."""

    model_ids: list[str]
    metrics: dict[str, Resampled]


Key = tuple[object, ...]
"""A kind's values."""


class Evaluated:
    """All models' predictions of their test rows, from which each kind's figures are computed once."""

    def __init__(self, predictions: pl.DataFrame, models: pl.DataFrame, items: pl.DataFrame) -> None:
        ordered = predictions.join(items, on="listing_id").sort("listing_id")
        self.models = models
        self.by_model = ordered.partition_by("model_id", as_dict=True)
        self.kinds = [dict(kind) for kind in models.select(KIND).unique(maintain_order=True).iter_rows(named=True)]
        self._draws: dict[str, Draws] = {}
        self._figures: dict[Key, Figures] = {}
        self._metrics: dict[str, dict[str, Metric]] = {}

    def ids(self, kind: dict[str, object]) -> list[str]:
        """The kind's models, by seed."""
        mine = self.models.filter(*(pl.col(name) == value for name, value in kind.items()))
        return mine.sort("seed")["model_id"].to_list()

    def judged(self, model_id: str) -> Judged:
        rows = self.by_model[(model_id,)]
        error = (rows["predicted_log_price"] - rows["log_price"]).abs().to_numpy()
        return Judged(error, rows["qualification"].to_numpy())

    def draws(self, split_kind: str) -> Draws:
        """Of the split's test rows, which are the same for all models."""
        if split_kind not in self._draws:
            model_id = self.models.filter(pl.col("split_kind") == split_kind)["model_id"][0]
            self._draws[split_kind] = Draws(numbered(self.by_model[(model_id,)]["group_key"].to_numpy()))
        return self._draws[split_kind]

    def metrics(self, split_kind: str) -> dict[str, Metric]:
        """All metrics, with the error at the coverage that the served kind of model really has."""
        if split_kind not in self._metrics:
            served = next((k for k in self.kinds if is_served(k) and k["split_kind"] == split_kind), None)
            taken = [(self.judged(m).qualification >= 0.5).mean() for m in self.ids(served)] if served else []
            own = {AT_ITS_COVERAGE: male_at_coverage(float(np.mean(taken)))} if np.sum(taken) > 0 else {}
            self._metrics[split_kind] = {**METRICS, **own}
        return self._metrics[split_kind]

    @threadpool_limits.wrap(limits=1)  # products of a few numbers: threads would wait for each other
    def measure(self, claimed: Sequence[Claim]) -> None:
        """Compute what the claims are about; all kinds of a split in the same draws, each of which is made once."""
        wanted: dict[str, dict[Key, tuple[dict[str, object], set[str]]]] = {}
        for claim in claimed:
            for kind in (claim.first, claim.second):
                of_split = wanted.setdefault(str(kind["split_kind"]), {})
                of_split.setdefault(tuple(kind.values()), (kind, set()))[1].update(claim.metrics)
        for split_kind, asked in wanted.items():
            ids = [self.ids(kind) for kind, _ in asked.values()]
            models = [
                ([self.judged(model_id) for model_id in of_kind], self.those_of(kind, names))
                for of_kind, (kind, names) in zip(ids, asked.values(), strict=True)
            ]
            found = all_resampled(models, self.draws(split_kind))
            for key, model_ids, metrics in zip(asked, ids, found, strict=True):
                self._figures[key] = Figures(model_ids, metrics)

    def those_of(self, kind: dict[str, object], names: Collection[str]) -> dict[str, Metric]:
        """Of these metrics those that the kind has: of a baseline without a gate, the one that needs none."""
        gated = is_gated(str(kind["constraint_kind"]), str(kind["objective"]))
        metrics = self.metrics(str(kind["split_kind"]))
        return {name: metrics[name] for name in metrics if name in names and (gated or name == "male_of_all")}

    def figures(self, kind: dict[str, object]) -> Figures:
        """The kind's metrics, as far as they are measured."""
        return self._figures[tuple(kind.values())]


def comparison_rows(evaluated: Evaluated) -> pl.DataFrame:
    """Every claim's differences, with an interval for each by itself and one that holds for its family at once."""
    claimed = list(claims(evaluated.kinds))
    evaluated.measure(claimed)
    compared = [
        (claim, metric)
        for claim in claimed
        for metric in claim.metrics
        if all(known(evaluated.figures(kind), metric) for kind in (claim.first, claim.second))
    ]
    families = groupby(sorted(compared, key=family_of), key=family_of)
    return pl.DataFrame([row for _, family in families for row in of_family(evaluated, list(family))])


def known(figures: Figures, metric: str) -> bool:
    """Whether the kind has the metric, and a figure in nearly every draw: one that qualifies none has no error."""
    found = figures.metrics.get(metric)
    if found is None:
        return False
    return bool(np.isfinite(found.measured).all() and np.isfinite(found.drawn).mean() >= LEVEL)


def family_of(compared: tuple[Claim, str]) -> tuple[str, str]:
    """Claims of one family by one metric are judged together."""
    claim, metric = compared
    return claim.family, metric


def of_family(evaluated: Evaluated, family: Sequence[tuple[Claim, str]]) -> list[dict[str, object]]:
    """The rows of claims that are judged together."""
    compared = [
        (claim, metric, evaluated.figures(claim.first), evaluated.figures(claim.second)) for claim, metric in family
    ]
    differences = [difference(first.metrics[metric], second.metrics[metric]) for _, metric, first, second in compared]
    rows: list[dict[str, object]] = []
    for (claim, metric, first, second), found, ends in zip(
        compared, differences, simultaneous(differences), strict=True
    ):
        split_kind = str(claim.first["split_kind"])
        draws, (low, high) = evaluated.draws(split_kind), found.interval
        rows.append(
            {
                "family": claim.family,
                "claim": claim.claim,
                "split_kind": split_kind,
                "metric": metric,
                "model": named(claim.first),
                "against": named(claim.second),
                "baseline": claim.second["constraint_kind"] == "baseline",
                "model_ids": first.model_ids,
                "against_ids": second.model_ids,
                "value": float(first.metrics[metric].measured.mean()),
                "against_value": float(second.metrics[metric].measured.mean()),
                "difference": found.measured,
                "low": low,
                "high": high,
                "family_low": ends[0],
                "family_high": ends[1],
                "tested": draws.group.size,
                "groups": draws.groups,
                "seeds": found.seeds,
                "verdict": verdict(*ends) if draws.groups >= FEWEST_GROUPS else CANNOT_TELL,
            }
        )
    return rows


@dg.asset(**table_options("model_comparisons", "evaluation", ITEMS))
def model_comparisons(
    context: dg.AssetExecutionContext,
    clean_listings: pl.DataFrame,
    evaluation_predictions: pl.DataFrame,
    percentile_pricing_models: pl.DataFrame,
    threshold_pricing_models: pl.DataFrame,
    baseline_pricing_models: pl.DataFrame,
    ablation_pricing_models: pl.DataFrame,
    words_pricing_models: pl.DataFrame,
) -> pl.DataFrame:
    """Two kinds of models, a metric, and whether the first has less error: yes, no or cannot tell.

    The verdict is by an interval over other draws of listings and seeds that holds for all claims of the family by
    that metric at once; `low` and `high` are for the comparison by itself. Thresholds and models are held fixed.
    """
    tables = [
        percentile_pricing_models,
        threshold_pricing_models,
        baseline_pricing_models,
        ablation_pricing_models,
        words_pricing_models,
    ]
    models = variants_of(each_once(tables))
    rows = comparison_rows(Evaluated(evaluation_predictions, models, clean_listings))
    counts = rows["verdict"].value_counts() if rows.height else pl.DataFrame({"verdict": [], "count": []})
    context.add_output_metadata({str(name): int(count) for name, count in counts.iter_rows()})
    return rows
