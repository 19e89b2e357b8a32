"""What a user would choose instead of our models: one class and one line of `BASELINES` each.

This module is read by whatever lists the baselines, the lineage among it, so it loads without torch and LightGBM.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jaxtyping import Float

from vps_ml.backbones.tasks import sees_words
from vps_ml.cards import Contents, identity
from vps_ml.features.tabular import ERRORS
from vps_ml.pricing.calibration import Judgement
from vps_ml.pricing.variants import COVERAGE_TARGETS, Variant

if TYPE_CHECKING:
    from vps_ml.features.dataset import PricingDataset
    from vps_ml.features.matrix import FeatureMatrix

Log = Callable[[str], None]


class Baseline(ABC):
    """What a user would choose instead of the price models, on the same rows and features, as an artefact."""

    kind: str
    """Of the artefact, whose id it enters: no two baselines have the same, unless one reads the other's artefact."""
    shares: str | None = None
    """The baseline whose artefact this one reads; a subclass says so itself."""
    version = "1"
    """Raise it when the fit or the judgement changes: `vps run` then makes this baseline again, and no other."""
    words = False
    """Whether it needs words: it is no rival of models of the photo alone then."""
    gated = True
    """Whether it orders listings by qualification; one that does not is read at full coverage alone, with one seed."""

    def fit(self, dataset: "PricingDataset", variant: Variant, log: Log) -> str:
        """Fit on the variant's training rows unless the artefact exists; its id."""
        from vps_ml.features.dataset import CODE_VERSION

        seen = variant.features, variant.split_kind, variant.seed
        parts = dataset.data_id, seen, dataset.recipe.described()
        model_id = identity(self.kind, CODE_VERSION, self.version, *parts)

        def fill() -> Contents:
            map_id, x = dataset.matrix(variant.features, variant.split_kind)
            log(f"{self.kind.replace('_', ' ')} on the {variant.split_kind} split")
            fitted = self.fitted(dataset, variant, x, log, model_id)
            card: dict[str, Any] = {
                "kind": self.kind,
                "model_id": model_id,
                "features": variant.features,
                "feature_map_id": map_id,
                "embedding_id": dataset.embedding_id,
                "text_id": dataset.text_id if sees_words(variant.features) else None,
                "roles_id": dataset.roles_id(),
                "trained_on": len(dataset.role(variant.split_kind, "train")),
            }
            return replace(fitted, card=card)

        return dataset.artefacts.make_usable(model_id, fill)

    @abstractmethod
    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        """What is fitted on the variant's training rows, its validation rows deciding when to stop; without a card."""

    @abstractmethod
    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        """The judgement of the rows with these numbers: each judged by itself and by what was fitted."""


class CategoryMedian(Baseline):
    """The median log price of the listing's category over the training rows; of all rows if it has none."""

    kind = "category_median"
    gated = False

    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        train = dataset.role(variant.split_kind, "train")
        return Contents({}, frames={"medians": medians(dataset.category[train], dataset.log_price[train])})

    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        by_category = dataset.artefacts.models.frame(model_id, "medians")
        assert by_category is not None, "the artefact has them"
        return judge_median(by_category, dataset.category[rows])


def medians(category: np.ndarray, log_price: Float[np.ndarray, " N"]) -> pl.DataFrame:
    """The median log price of each category, by its name; null: of all."""
    priced = pl.DataFrame({"category": category, "log_price": log_price}, schema_overrides={"category": pl.String})
    of_all = priced.select(pl.lit(None, pl.String).alias("category"), pl.col("log_price").median())
    return pl.concat([of_all, priced.drop_nulls("category").group_by("category").median().sort("category")])


def judge_median(medians: pl.DataFrame, categories: np.ndarray) -> Judgement:
    """Each category's median of training prices: all qualified, all with the same expected error."""
    by_category = dict(medians.iter_rows())
    priced = np.array([by_category.get(name, by_category[None]) for name in categories])
    return Judgement(priced, np.zeros(len(categories)), np.ones(len(categories)))


class BoostedTrees(Baseline):
    """LightGBM on the price models' features, one booster a fold, with an error model as its gate."""

    kind = "boosted_trees"
    version = "3"

    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        from vps_ml.pricing.fitting import fold_trees
        from vps_ml.pricing.trees import fit_error_trees, trees_text

        folds = fold_trees(dataset, variant, log)
        rows = (x.rows(dataset.role(variant.split_kind, role)) for role in ("train", "validation"))
        learnt, stop = (part.array(ERRORS) for part in rows)
        error = fit_error_trees((learnt, folds.residual), (stop, folds.held_out_residual), variant.seed)
        return Contents({}, texts={"price": trees_text(folds.boosters), "error": error})

    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        from vps_ml.pricing.trees import trees_error, trees_of, trees_price

        models = dataset.artefacts.models
        x = dataset.matrix_of(models.card(model_id), rows).array()
        expected = trees_error(models.text(model_id, "error"), x)
        return Judgement(trees_price(trees_of(models.text(model_id, "price")), x), -expected, expected)


class KernelMachineBaseline(Baseline):
    """Support vectors with a Gaussian kernel on the price models' features; what comparables sold for as its gate.

    On some 4,500 rows a minute on one core; beyond `vps_ml.pricing.kernels.MOST_EXACT` rows on landmarks.
    """

    kind = "kernel_machine"

    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        from vps_ml.pricing.blends import Blend
        from vps_ml.pricing.expected_errors import Comparables
        from vps_ml.pricing.fitting import kernel_folds

        folds = kernel_folds(dataset, variant, log)
        train = dataset.role(variant.split_kind, "train")
        price, group = dataset.log_price[train], dataset.group[train]
        error = Comparables.among(x.rows(train), price, group, folds.error_scale, variant.seed)
        return Blend(folds.machine, folds.scale, (), error, np.array([0.0, 1.0, 0.0])).contents()

    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        from vps_ml.pricing.blends import Blend, predicted

        models = dataset.artefacts.models
        machines = Blend.load(models, model_id)
        x = dataset.matrix_of(models.card(model_id), rows)
        price = predicted(machines.kernel, x, machines.scale)
        expected = machines.error.expected_error(x, price)
        return Judgement(price, -expected, expected)


class RidgeOnWords(Baseline):
    """Ridge regression on TF-IDF of words, beside the other features; another of its absolute errors as its gate."""

    kind = "ridge_on_words"
    words = True

    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        from vps_ml.features.scaling import FeatureMap
        from vps_ml.features.tabular import PRICES
        from vps_ml.pricing.distances import input_scale
        from vps_ml.pricing.ridge import WordsRidge

        train = dataset.role(variant.split_kind, "train")
        feature_map = FeatureMap.load(dataset.artefacts, dataset.matrix(variant.features, variant.split_kind)[0])
        dense = x.rows(train).array()
        scale = input_scale(feature_map, dense, PRICES)
        scale[feature_map.photo_width : feature_map.width] = 0  # words themselves, not what they were reduced to
        price, group = dataset.log_price[train], dataset.group[train]
        made = WordsRidge.fitted(dataset.words_of(train).hashed, dense, scale, price, group, variant.seed)
        return Contents({}, arrays={"ridge": vars(made)})

    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        from vps_ml.pricing.ridge import WordsRidge

        models = dataset.artefacts.models
        dense = dataset.matrix_of(models.card(model_id), rows).array()
        price, expected = WordsRidge.of(models.arrays(model_id, "ridge")).judge(dataset.words_of(rows).hashed, dense)
        return Judgement(price, -expected, expected)


class DeepEnsemble(Baseline):
    """Gaussian-likelihood networks as one mixture (Lakshminarayanan et al., "Deep Ensembles", 2017)."""

    kind = "deep_ensemble"
    version = "2"
    members = 5
    """That are trained: as many as its authors used."""
    read = 5
    """That judge."""

    def fitted(
        self, dataset: "PricingDataset", variant: Variant, x: "FeatureMatrix", log: Log, model_id: str
    ) -> Contents:
        from vps_ml.pricing.learners import gaussian, train_each
        from vps_ml.pricing.networks import Examples, state_of
        from vps_ml.training_loop import Session

        recipe = dataset.recipe.pricing
        rows = (dataset.role(variant.split_kind, role) for role in ("train", "validation"))
        train, validation = (Examples.of(x.rows(part), dataset.log_price[part]) for part in rows)
        session = Session(log, dataset.artefacts.models.resume_folder(model_id))
        members = [(gaussian(f"member {k + 1} of {self.members}", train, recipe), train) for k in range(self.members)]
        seeds = [variant.seed * 1000 + k for k in range(self.members)]
        networks = train_each(members, validation, recipe, seeds, session)
        return Contents({}, arrays={"state": state_of({f"member{k}": one for k, one in enumerate(networks)})})

    def judge(self, dataset: "PricingDataset", variant: Variant, model_id: str, rows: np.ndarray) -> Judgement:
        from vps_ml.pricing.networks import judge_gaussians, networks_of

        models = dataset.artefacts.models
        networks = list(networks_of(models.arrays(model_id, "state")).values())[: self.read]
        return judge_gaussians(networks, dataset.matrix_of(models.card(model_id), rows))


class GaussianNetwork(DeepEnsemble):
    """The ensemble's first member alone (Nix and Weigend, 1994): read from the same artefact."""

    shares = "deep_ensemble"
    read = 1


def check_kinds(baselines: Mapping[str, Baseline]) -> Mapping[str, Baseline]:
    """The baselines, if none would find another's artefact under its own id.

    Raises:
        ValueError: one has no kind, or two have the same, and neither says that it shares the artefact.
    """
    owners: dict[str, str] = {}
    for name, baseline in baselines.items():
        if vars(type(baseline)).get("shares") is not None:
            continue
        if not hasattr(baseline, "kind"):
            raise ValueError(f"the baseline {name} has no `kind`, the name of its artefact")
        if baseline.kind in owners:
            raise ValueError(
                f"the baselines {owners[baseline.kind]} and {name} would have one artefact, of kind "
                f"{baseline.kind!r}: give {name} a `kind` of its own, or say whose artefact it `shares`"
            )
        owners[baseline.kind] = name
    return baselines


BASELINES: Mapping[str, Baseline] = check_kinds(
    {
        "category_median": CategoryMedian(),
        "boosted_trees": BoostedTrees(),
        "kernel_machine": KernelMachineBaseline(),
        "ridge_on_words": RidgeOnWords(),
        "gaussian_network": GaussianNetwork(),
        "deep_ensemble": DeepEnsemble(),
    }
)
"""Name, which is also the baseline's objective in the tables, -> baseline."""


def is_gated(constraint_kind: str, objective: str) -> bool:
    """Whether models of this kind order listings by qualification: all but some baselines."""
    return constraint_kind != "baseline" or BASELINES[objective].gated


def gated_baselines() -> tuple[str, ...]:
    """The baselines of the photo that order listings by qualification."""
    return tuple(name for name, baseline in BASELINES.items() if baseline.gated and not baseline.words)


def baseline_variants(seeds: int, features: str = "MSTFE") -> tuple[Variant, ...]:
    """Every baseline on both splits: gated ones at each δ and at full coverage for each seed, others as they are."""
    plain = [(name, 1.0, 0) for name in BASELINES if not BASELINES[name].gated]
    read = [
        (name, value, seed) for seed in range(seeds) for name in gated_baselines() for value in (*COVERAGE_TARGETS, 1.0)
    ]
    return tuple(
        Variant(
            constraint_kind="baseline",
            constraint_value=value,
            objective=name,
            features=features,
            split_kind=split,
            seed=seed,
        )
        for split in ("group", "time")
        for name, value, seed in [*plain, *read]
    )
